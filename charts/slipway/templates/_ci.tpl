{{/* The task types that are CI types, by name, as a JSON object; each with its namespace. */}}
{{- define "slipway.ciTypes" -}}
{{- $types := dict -}}
{{- range $name, $type := .Values.config.taskTypes -}}
{{- $ci := ($type | default dict).ci -}}
{{- if kindIs "map" $ci -}}
{{- $_ := set $types $name (merge (dict "namespace" ($ci.namespace | default $.Release.Namespace)) $type) -}}
{{- end -}}
{{- end -}}
{{- toJson $types -}}
{{- end -}}

{{/* The namespaces in which their Jobs are made, as a JSON array. */}}
{{- define "slipway.ciNamespaces" -}}
{{- $namespaces := list -}}
{{- range include "slipway.ciTypes" . | fromJson -}}{{- $namespaces = append $namespaces .namespace -}}{{- end -}}
{{- $namespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Those that have types without a service account of their own, as a JSON array. */}}
{{- define "slipway.ciAccountNamespaces" -}}
{{- $namespaces := list -}}
{{- range include "slipway.ciTypes" . | fromJson -}}
{{- if not .serviceAccountName -}}{{- $namespaces = append $namespaces .namespace -}}{{- end -}}
{{- end -}}
{{- $namespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{- define "slipway.ciName" -}}{{ include "slipway.fullname" . }}-ci{{- end -}}

{{/*
Addresses that no CI task may reach, as CIDRs in a JSON array: networkPolicy.ci.deny, and those of the API server as far as helm may ask for
them. On a cluster that others run the API server is outside of it and has a public address, which its EndpointSlice tells.
*/}}
{{- define "slipway.ciDenied" -}}
{{- $denied := .Values.networkPolicy.ci.deny -}}
{{- if .Values.lookup -}}
{{- $addresses := ((lookup "v1" "Service" "default" "kubernetes").spec | default dict).clusterIPs | default list -}}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "").items -}}
{{- if and (eq (index (.metadata.labels | default dict) "kubernetes.io/service-name" | default "") "kubernetes") (ne .addressType "FQDN") -}}
{{- range .endpoints -}}{{- $addresses = concat $addresses .addresses -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $addresses -}}{{- $denied = append $denied (printf "%s/%s" . (contains ":" . | ternary "128" "32")) -}}{{- end -}}
{{- end -}}
{{- $denied | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
The Secrets that have to be in a namespace of CI types, as a JSON array: those that they name, and those by which the runner's image is
pulled, which collects reports. `root`, and `namespace`; podTemplate may name more.
*/}}
{{- define "slipway.ciSecrets" -}}
{{- $config := include "slipway.config" .root | fromYaml -}}
{{- $secrets := ($config.runner).imagePullSecrets | default list -}}
{{- $namespace := .namespace -}}
{{- range $name, $type := include "slipway.ciTypes" .root | fromJson -}}
{{- if eq $type.namespace $namespace -}}
{{- $ci := (get $config.taskTypes $name).ci -}}
{{- $secrets = concat $secrets (compact (list $ci.registrySecret $ci.gitSecret)) -}}
{{- range concat (($ci.report | default dict).env | default list) ($type.env | default list) -}}
{{- with (.valueFrom).secretKeyRef -}}{{- $secrets = append $secrets .name -}}{{- end -}}
{{- end -}}
{{- range concat (($ci.report | default dict).envFrom | default list) ($type.envFrom | default list) -}}
{{- with .secretRef -}}{{- $secrets = append $secrets .name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $secrets | uniq | sortAlpha | toJson -}}
{{- end -}}
