{{/*
The configuration file: .Values.config, and the connection string by reference for the task types that storage.taskTypes names.
*/}}
{{- define "slipway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if eq .Values.storage.access "connection-string" -}}
{{- $secret := dict "name" .Values.storage.existingSecret "key" (include "slipway.storageKey" .) -}}
{{- $entry := dict "name" "AZURE_STORAGE_CONNECTION_STRING" "valueFrom" (dict "secretKeyRef" $secret) -}}
{{- range .Values.storage.taskTypes -}}
{{- $type := get $config.taskTypes . -}}
{{- $own := false -}}
{{- range $type.env -}}
{{- if eq .name $entry.name -}}{{- $own = true -}}{{- end -}}
{{- end -}}
{{- if not $own -}}
{{- $_ := set $type "env" (append ($type.env | default list) $entry) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The key of storage.existingSecret that holds the connection string or the URL. */}}
{{- define "slipway.storageKey" -}}
{{- .Values.storage.key | default .Values.storage.access -}}
{{- end -}}
