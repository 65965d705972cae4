{{/*
The configuration file: .Values.config, the connection string by reference for the task types that storage.taskTypes names, and the chart's
service account for CI types without one. Of a CI type the reporter gets the connection string: its tests are not to see it.
*/}}
{{- define "slipway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if eq .Values.storage.access "connection-string" -}}
{{- $secret := dict "name" .Values.storage.existingSecret "key" (include "slipway.storageKey" .) -}}
{{- $entry := dict "name" "AZURE_STORAGE_CONNECTION_STRING" "valueFrom" (dict "secretKeyRef" $secret) -}}
{{- range .Values.storage.taskTypes -}}
{{- $holder := get $config.taskTypes . -}}
{{- if kindIs "map" $holder.ci -}}
{{- if not $holder.ci.report -}}{{- $_ := set $holder.ci "report" dict -}}{{- end -}}
{{- $holder = $holder.ci.report -}}
{{- end -}}
{{- $own := false -}}
{{- range $holder.env -}}
{{- if eq .name $entry.name -}}{{- $own = true -}}{{- end -}}
{{- end -}}
{{- if not $own -}}
{{- $_ := set $holder "env" (append ($holder.env | default list) $entry) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $type := include "slipway.ciTypes" . | fromJson -}}
{{- if not $type.serviceAccountName -}}
{{- $_ := set (get $config.taskTypes $name) "serviceAccountName" (include "slipway.ciName" $) -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The key of storage.existingSecret that holds the connection string or the URL. */}}
{{- define "slipway.storageKey" -}}
{{- .Values.storage.key | default .Values.storage.access -}}
{{- end -}}
