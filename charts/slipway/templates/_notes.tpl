{{/* The type of the message for the first try: echo where there is one. */}}
{{- define "slipway.firstType" -}}
{{- $types := keys .Values.config.taskTypes | sortAlpha -}}
{{- has "echo" $types | ternary "echo" (first $types) -}}
{{- end -}}

{{/* The namespace of its Job. */}}
{{- define "slipway.firstNamespace" -}}
{{- (get (include "slipway.ciTypes" . | fromJson) (include "slipway.firstType" .) | default dict).namespace | default .Release.Namespace -}}
{{- end -}}

{{/* The message itself. */}}
{{- define "slipway.firstMessage" -}}
{{- $type := include "slipway.firstType" . -}}
{{- $payload := dict "hello" "world" -}}
{{- if hasKey (include "slipway.ciTypes" . | fromJson) $type -}}
{{- $payload = dict "repository" "https://git.example.com/acme/app.git" "ref" "main" "test" (dict "command" "make test") -}}
{{- end -}}
{{- dict "task_id" "first-task" "task_type" $type "payload" $payload | toJson -}}
{{- end -}}

{{/* What the values allow but a production cluster seldom wants, one sentence a line. */}}
{{- define "slipway.warnings" -}}
{{- if eq (int .Values.replicas) 0 }}
replicas is 0: no message is received until it is 1 or more. Tasks that run go on.
{{- end }}
{{- if not (.Values.config.webhook).signingSecret }}
config.webhook.signingSecret is not set: webhooks are unsigned, and their receiver cannot tell who sent them.
{{- end }}
{{- range (.Values.config.webhook).allow }}
{{- if hasSuffix "/0" . }}
config.webhook.allow has {{ . }}: whoever can write a message can have any address inside the cluster called.
{{- end }}
{{- end }}
{{- if not (regexMatch "(:[^/]*|@.*)$" .Values.config.runner.image) }}
config.runner.image = {{ .Values.config.runner.image }} has neither tag nor digest: nodes that hold different images run different code.
{{- else if hasSuffix ":latest" .Values.config.runner.image }}
config.runner.image = {{ .Values.config.runner.image }}: nodes that hold different images run different code. Use a fixed tag or a digest.
{{- end }}
{{- if eq .Values.storage.access "sas-url" }}
{{- range .Values.storage.taskTypes }}
storage.access is sas-url, so tasks of type {{ . }} get no connection string: a SAS for queues opens no Blob storage. Give them their own in config.taskTypes.{{ . }}.{{ hasKey (include "slipway.ciTypes" $ | fromJson) . | ternary "ci.report.env" "env" }}, then take the type off storage.taskTypes.
{{- end }}
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
networkPolicy.enabled is false: every pod of the cluster can reach the ports of tasks.
{{- end }}
{{- $ciNamespaces := include "slipway.ciNamespaces" . | fromJsonArray }}
{{- if and $ciNamespaces (not .Values.networkPolicy.enabled) }}
networkPolicy.enabled is false: CI tasks can reach every pod, the API server and the metadata service of the cloud.
{{- end }}
{{- if $ciNamespaces }}
{{- range .Values.networkPolicy.ci.allow }}
{{- if or (hasSuffix "/0" .) (hasPrefix "169.254." .) (hasPrefix "168.63.129.16" .) (hasPrefix "fd00:ec2:" .) }}
networkPolicy.ci.allow has {{ . }}: CI tasks can reach the metadata service of the cloud, and through it what its nodes may do.
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.lookup }}
{{- range $ciNamespaces }}
{{- $labels := ((lookup "v1" "Namespace" "" .).metadata | default dict).labels | default dict }}
{{- if eq (index $labels "pod-security.kubernetes.io/enforce" | default "") "restricted" }}
the namespace {{ . }} enforces the pod security level restricted, which refuses the pods of CI tasks: kubectl label namespace {{ . }} pod-security.kubernetes.io/enforce=baseline --overwrite
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
