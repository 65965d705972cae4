{{/* "true" where a task may run on Azure Container Instances. */}}
{{- define "slipway.usesAci" -}}
{{- $uses := eq (.Values.config.backend | default "kubernetes") "aci" -}}
{{- range .Values.config.taskTypes -}}
{{- if and (eq ((. | default dict).backend | default "kubernetes") "aci") (not (kindIs "map" (. | default dict).ci)) -}}{{- $uses = true -}}{{- end -}}
{{- end -}}
{{- if $uses -}}true{{- end -}}
{{- end -}}

{{/*
The names of the Secrets, or ConfigMaps, that the values name for tasks: those of env and envFrom, of pulling and signing, and azure's own
lists. As a JSON object of two arrays.
*/}}
{{- define "slipway.aciReferences" -}}
{{- $secrets := .Values.azure.secrets -}}
{{- $configMaps := .Values.azure.configMaps -}}
{{- $config := include "slipway.config" . | fromYaml -}}
{{- $settings := concat (values ($config.taskTypes | default dict)) (values ($config.clients | default dict)) -}}
{{- range $settings -}}
{{- range (. | default dict).env -}}
{{- with (.valueFrom).secretKeyRef -}}{{- $secrets = append $secrets .name -}}{{- end -}}
{{- with (.valueFrom).configMapKeyRef -}}{{- $configMaps = append $configMaps .name -}}{{- end -}}
{{- end -}}
{{- range (. | default dict).envFrom -}}
{{- with .secretRef -}}{{- $secrets = append $secrets .name -}}{{- end -}}
{{- with .configMapRef -}}{{- $configMaps = append $configMaps .name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range ($config.runner).imagePullSecrets -}}{{- $secrets = append $secrets . -}}{{- end -}}
{{- with ($config.webhook).signingSecret -}}{{- $secrets = append $secrets .name -}}{{- end -}}
{{- with (($config.aci).logAnalytics).workspaceKey -}}{{- $secrets = append $secrets .name -}}{{- end -}}
{{- dict "secrets" ($secrets | uniq | sortAlpha) "configMaps" ($configMaps | uniq | sortAlpha) | toJson -}}
{{- end -}}

{{- define "slipway.aciSecrets" -}}{{- (include "slipway.aciReferences" . | fromJson).secrets | toJson -}}{{- end -}}
{{- define "slipway.aciConfigMaps" -}}{{- (include "slipway.aciReferences" . | fromJson).configMaps | toJson -}}{{- end -}}
{{- define "slipway.aciDeployments" -}}{{- if .Values.scaleToZero.schedule -}}[]{{- else -}}{{- list (include "slipway.fullname" .) | toJson -}}{{- end -}}{{- end -}}
{{- define "slipway.aciCronJobs" -}}{{- if .Values.scaleToZero.schedule -}}{{- list (include "slipway.fullname" .) | toJson -}}{{- else -}}[]{{- end -}}{{- end -}}
