{{/*
What the schema cannot say, or not in a sentence: all problems at once, each with its remedy. It also holds with --skip-schema-validation.
*/}}
{{- define "slipway.validate" -}}
{{- $problems := list -}}
{{- if not .Values.image.repository -}}
{{- $problems = append $problems "image.repository is not set: there is no public image of the operator. Build Dockerfile.operator, push it to your registry and set image.repository to its name, such as registry.example.com/slipway-operator" -}}
{{- else if regexMatch "(:[^/]*|@.*)$" .Values.image.repository -}}
{{- $problems = append $problems (printf "image.repository = %s: ends in a tag or a digest. Set image.repository to the name alone, and image.tag to the rest" .Values.image.repository) -}}
{{- end -}}
{{- if not .Values.storage.existingSecret -}}
{{- $problems = append $problems (printf "storage.existingSecret is not set: the operator cannot reach a queue. Create a Secret with the key %s in the namespace %s and set storage.existingSecret to its name" (include "slipway.storageKey" .) .Release.Namespace) -}}
{{- end -}}
{{- if and (not .Values.config.queues) (not (hasKey .Values.config "discovery")) -}}
{{- $problems = append $problems "config.queues is empty and config.discovery is not set: there is nothing to do. Name at least one queue: --set config.queues[0].name=acme-tasks, or take all of the account: --set config.discovery.include={*-tasks}" -}}
{{- end -}}
{{- if not (.Values.config.runner).image -}}
{{- $problems = append $problems "config.runner.image is not set: there is no public image of the runner. Build Dockerfile.runner, push it to your registry and set config.runner.image to its reference, such as registry.example.com/slipway-runner:1.0.0" -}}
{{- end -}}
{{- if not .Values.config.taskTypes -}}
{{- $problems = append $problems "config.taskTypes is empty: every message would be poisoned as of unknown type. Name at least one task type, such as echo: {}" -}}
{{- end -}}
{{- range .Values.storage.taskTypes -}}
{{- if not (hasKey ($.Values.config.taskTypes | default dict) .) -}}
{{- $problems = append $problems (printf "storage.taskTypes names %s, which config.taskTypes does not have. Add it there, or take it off storage.taskTypes" .) -}}
{{- end -}}
{{- end -}}
{{- if and (include "slipway.usesAci" .) (not .Values.config.aci) -}}
{{- $problems = append $problems "config.aci is not set, and tasks are to run on Azure Container Instances. Set config.aci.subscriptionId, config.aci.resourceGroup and config.aci.location" -}}
{{- end -}}
{{- range $name, $type := include "slipway.ciTypes" . | fromJson -}}
{{- $at := printf "config.taskTypes.%s" $name -}}
{{- if and $type.ci.gitSecret (not $type.ci.gitHosts) -}}
{{- $problems = append $problems (printf "%s.ci.gitSecret = %s, and gitHosts is not set: the Secret would be sent to no host. Set %s.ci.gitHosts to those that it is for, such as [github.com], or remove gitSecret" $at $type.ci.gitSecret $at) -}}
{{- end -}}
{{- if and $type.ci.gitHosts (not $type.ci.gitSecret) -}}
{{- $problems = append $problems (printf "%s.ci.gitHosts is set, and gitSecret is not: there is nothing to send to these hosts. Set %s.ci.gitSecret to the name of a Secret with username and password, or remove gitHosts" $at $at) -}}
{{- end -}}
{{- range list "image" "runner" "command" "args" -}}
{{- if and (hasKey $type .) (not (kindIs "invalid" (get $type .))) -}}
{{- $problems = append $problems (printf "%s.%s is set beside ci: the pod is made of git, a builder and the image that it builds. Remove %s" $at . .) -}}
{{- end -}}
{{- end -}}
{{- if eq ($type.security | default "restricted") "baseline" -}}
{{- $problems = append $problems (printf "%s.security = baseline, beside ci: the pod of a CI task has a security of its own. Remove security" $at) -}}
{{- end -}}
{{- if eq ($type.webhook | default "auto") "task" -}}
{{- $problems = append $problems (printf "%s.webhook = task, beside ci: the operator reports CI tasks, as no image of theirs does. Remove webhook" $at) -}}
{{- end -}}
{{- if eq ($type.backend | default "kubernetes") "aci" -}}
{{- $problems = append $problems (printf "%s.backend = aci, beside ci: Azure Container Instances gives no container the rights to build an image. Remove backend" $at) -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- $problems = append $problems "serviceAccount.create is false and serviceAccount.name is not set: the operator's rights would go to the default account, and so to every pod of the namespace. Set serviceAccount.name to an account of its own, or serviceAccount.create to true" -}}
{{- end -}}
{{- range .Values.networkPolicy.ci.deny -}}
{{- if hasSuffix "/0" . -}}
{{- $problems = append $problems (printf "networkPolicy.ci.deny has %s: nothing public would be left, and Kubernetes takes no such policy. Name smaller ranges, or give the namespace a policy of your own and set networkPolicy.enabled to false" .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.lookup -}}
{{- range include "slipway.ciNamespaces" . | fromJsonArray -}}
{{- /* Service kubernetes is in every cluster, and read for the network policy anyway: an answer tells that the cluster was asked at all. */ -}}
{{- if and (ne . $.Release.Namespace) (lookup "v1" "Service" "default" "kubernetes") (not (lookup "v1" "Namespace" "" .)) -}}
{{- $problems = append $problems (printf "config.taskTypes has CI types in the namespace %s, which does not exist. Make it: kubectl create namespace %s && kubectl label namespace %s pod-security.kubernetes.io/enforce=baseline" . . .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThe values have %s:\n  - %s\n" (ternary "a problem" (printf "%d problems" (len $problems)) (eq (len $problems) 1)) (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
