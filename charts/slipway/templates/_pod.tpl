{{/* The operator's pod, less its metadata: the same in the Deployment and in the CronJob. `args` are those of the process; `isShort`: it serves no probes. */}}
{{- define "slipway.podSpec" -}}
{{- $ := .root -}}
serviceAccountName: {{ include "slipway.serviceAccountName" $ }}
automountServiceAccountToken: true
# Kubernetes' variables for the Services of the namespace could be mistaken for settings.
enableServiceLinks: false
terminationGracePeriodSeconds: 60
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: operator
    image: {{ printf "%s:%s" $.Values.image.repository ($.Values.image.tag | default $.Chart.AppVersion) | quote }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    {{- with .args }}
    args:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    env:
      - name: SLIPWAY_CONFIG
        value: /etc/slipway/config.yaml
      - name: SLIPWAY_NAMESPACE
        valueFrom:
          fieldRef:
            fieldPath: metadata.namespace
      - name: SLIPWAY_POD_NAME
        valueFrom:
          fieldRef:
            fieldPath: metadata.name
      - name: SLIPWAY_INSTANCE
        value: {{ $.Release.Name | quote }}
      - name: SLIPWAY_HTTP_PORT
        value: "8080"
      - name: {{ eq $.Values.storage.access "sas-url" | ternary "AZURE_STORAGE_SAS_URL" "AZURE_STORAGE_CONNECTION_STRING" }}
        valueFrom:
          secretKeyRef:
            name: {{ $.Values.storage.existingSecret }}
            key: {{ include "slipway.storageKey" $ }}
      {{- with ($.Values.config.webhook).signingSecret }}
      - name: SLIPWAY_WEBHOOK_SECRET
        valueFrom:
          secretKeyRef:
            name: {{ .name }}
            key: {{ .key }}
      {{- end }}
      {{- if include "slipway.usesAci" $ }}
      - name: SLIPWAY_WORKLOAD
        value: {{ printf "%s/%s" ($.Values.scaleToZero.schedule | empty | ternary "deployments" "cronjobs") (include "slipway.fullname" $) }}
      # No credentials of developers' tools are looked for.
      - name: AZURE_TOKEN_CREDENTIALS
        value: prod
    {{- with $.Values.azure.existingSecret }}
    envFrom:
      - secretRef:
          name: {{ . }}
    {{- end }}
      {{- end }}
    {{- if not .isShort }}
    ports:
      - name: http
        containerPort: 8080
    livenessProbe:
      httpGet:
        path: /healthz
        port: http
      periodSeconds: 10
      timeoutSeconds: 5
    {{- if not .args }}
    readinessProbe:
      httpGet:
        path: /readyz
        port: http
      periodSeconds: 5
      timeoutSeconds: 5
    {{- end }}
    {{- end }}
    # The reasons of a refused configuration are then shown by kubectl describe pod.
    terminationMessagePolicy: FallbackToLogsOnError
    {{- with $.Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      # The directory, not the file: only so does a changed ConfigMap reach the pod.
      - name: config
        mountPath: /etc/slipway
        readOnly: true
volumes:
  - name: config
    configMap:
      name: {{ include "slipway.fullname" $ }}
{{- with $.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Its metadata. A changed configuration is read by the pod that runs; only what identifies the installation needs a new one. */}}
{{- define "slipway.podMetadata" -}}
labels:
  {{- $identity := dict }}
  {{- if and (include "slipway.usesAci" .) .Values.azure.clientId }}
  {{- $identity = dict "azure.workload.identity/use" "true" }}
  {{- end }}
  {{- merge (include "slipway.selectorLabels" . | fromYaml) $identity .Values.podLabels | toYaml | nindent 2 }}
annotations:
  {{- /* What takes effect with a new process alone. */}}
  {{- $fixed := dict "checksum/installation" (.Values.config.installation | default "" | sha256sum) }}
  {{- with include "slipway.ciNamespaces" . | fromJsonArray }}
  {{- $fixed = merge $fixed (dict "checksum/namespaces" (. | toJson | sha256sum)) }}
  {{- end }}
  {{- merge $fixed .Values.podAnnotations | toYaml | nindent 2 }}
{{- end -}}
