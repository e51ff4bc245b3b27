{{- define "diffusion.image" -}}
{{- $own := .own -}}
{{- if $own -}}{{ $own }}{{- else -}}
{{ .root.Values.registry }}/{{ .name }}:{{ .root.Values.tag | default .root.Chart.AppVersion }}
{{- end -}}
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
{{- $images := dict
  "loadtest" (include "diffusion.image" (dict "root" . "own" .Values.images.loadtest "name" "diffusion-loadtest"))
  "backends" (dict
    "fastapi" (include "diffusion.image" (dict "root" . "own" .Values.images.backends.fastapi "name" "diffusion-serving-fastapi")))
  "pullPolicy" .Values.imagePullPolicy -}}
{{- dict
  "images" $images
  "accelerators" .Values.accelerators
  "serverResources" .Values.serverResources
  "runnerResources" .Values.runnerResources
  "workers" .Values.workers | toPrettyJson -}}
{{- end -}}
