{{/*
The name of every object. It leaves room for the suffix "-tasks" within 63 characters; release names have at most 53.
*/}}
{{- define "slipway.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains "slipway" $name) -}}
{{- $name = printf "%s-slipway" $name -}}
{{- end -}}
{{- $name | trunc 57 | trimSuffix "-" -}}
{{- end -}}

{{- define "slipway.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "slipway.fullname" .) -}}
{{- end -}}

{{/* What the Deployment selects by; immutable. The component keeps it apart from the pods of tasks. */}}
{{- define "slipway.selectorLabels" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "slipway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "slipway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
