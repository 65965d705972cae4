{{/* A message for the first try, of type echo where there is one. */}}
{{- define "slipway.firstMessage" -}}
{{- $types := keys .Values.config.taskTypes | sortAlpha -}}
{{- dict "task_id" "first-task" "task_type" (has "echo" $types | ternary "echo" (first $types)) "payload" (dict "hello" "world") | toJson -}}
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
storage.access is sas-url, so tasks of type {{ . }} get no connection string: a SAS for queues opens no Blob storage. Give them their own in config.taskTypes.{{ . }}.env, then take the type off storage.taskTypes.
{{- end }}
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
networkPolicy.enabled is false: every pod of the cluster can reach the ports of tasks.
{{- end }}
{{- end -}}
