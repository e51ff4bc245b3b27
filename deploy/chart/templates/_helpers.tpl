{{- define "diffusion.image" -}}
{{- $own := .own -}}
{{- if $own -}}{{ $own }}{{- else -}}
{{ .root.Values.registry }}/{{ .name }}:{{ .root.Values.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "diffusion.fullname" -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride }}
{{- else if .Values.nameOverride -}}{{ printf "%s-%s" .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- else -}}{{ .Release.Name }}{{- end -}}
{{- end -}}

{{- define "diffusion.account" -}}
{{- .Values.serviceAccount.name | default (include "diffusion.fullname" .) -}}
{{- end -}}

{{- /* Objects without a namespace: two releases of one name in two namespaces must not collide. */ -}}
{{- define "diffusion.clusterwide" -}}
{{ include "diffusion.fullname" . }}-{{ .Release.Namespace }}
{{- end -}}

{{- /* The Lease by which other releases see this one's claim. */ -}}
{{- define "diffusion.claim" -}}
{{ include "diffusion.fullname" . }}.{{ .Release.Namespace }}.claim
{{- end -}}

{{- define "diffusion.selector" -}}
app.kubernetes.io/name: diffusion-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "diffusion.labels" -}}
{{ include "diffusion.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "diffusion.settings" -}}
{{- $backends := dict -}}
{{- range $backend, $own := .Values.images.backends -}}
{{- $name := printf "diffusion-serving-%s" $backend -}}
{{- $_ := set $backends $backend (include "diffusion.image" (dict "root" $ "own" $own "name" $name)) -}}
{{- end -}}
{{- $images := dict
  "loadtest" (include "diffusion.image" (dict "root" . "own" .Values.images.loadtest "name" "diffusion-loadtest"))
  "backends" $backends
  "pullPolicy" .Values.imagePullPolicy -}}
{{- $policy := dict -}}
{{- if .Values.networkPolicy.enabled -}}
{{- $namespace := dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) -}}
{{- $own := dict "matchLabels" (include "diffusion.selector" . | fromYaml) -}}
{{- $operator := dict "namespaceSelector" $namespace "podSelector" $own -}}
{{- $policy = dict "networkPolicy" (dict "admit" (append .Values.networkPolicy.admit $operator)) -}}
{{- end -}}
{{- $pods := deepCopy .Values.podDefaults -}}
{{- with .Values.imagePullSecrets -}}
{{- $_ := set $pods "spec" (merge (dict "imagePullSecrets" (concat (default list $pods.spec.imagePullSecrets) .)) $pods.spec) -}}
{{- end -}}
{{- merge $policy (dict
  "images" $images
  "accelerators" .Values.accelerators
  "serverResources" .Values.serverResources
  "backendResources" .Values.backendResources
  "hfEndpoint" .Values.hfEndpoint
  "prometheusUrl" .Values.prometheusUrl
  "runnerResources" .Values.runnerResources
  "maxConcurrentLoadTests" .Values.maxConcurrentLoadTests
  "podDefaults" $pods
  "children" .Values.children
  "rollouts" .Values.rollouts
  "workers" .Values.workers) | toPrettyJson -}}
{{- end -}}
