{{- define "podium.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "podium.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "podium.selectorLabels" -}}
app.kubernetes.io/name: {{ include "podium.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "podium.labels" -}}
{{ include "podium.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "podium.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "podium.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* An image's full name: (dict "registry" ... "repository" ... "tag" ...). */ -}}
{{- define "podium.image" -}}
{{- $name := printf "%s:%s" .repository .tag -}}
{{- if .registry -}}
{{- printf "%s/%s" (trimSuffix "/" .registry) $name -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- /* The full name of an image of Podium's own: (dict "root" . "repository" ...). */ -}}
{{- define "podium.ownImage" -}}
{{- $values := .root.Values.image -}}
{{- include "podium.image" (dict "registry" $values.registry "repository" .repository "tag" (default .root.Chart.AppVersion $values.tag)) -}}
{{- end -}}

{{- define "podium.servingImage" -}}
{{- include "podium.ownImage" (dict "root" . "repository" .Values.serving.repository) -}}
{{- end -}}

{{- /* What all router pods have in common, but their image. */ -}}
{{- define "podium.routerPods" -}}
{{- mergeOverwrite (omit .Values.router "repository") (dict "pullPolicy" .Values.image.pullPolicy) | toJson -}}
{{- end -}}

{{- /* The built-in ModelRuntimes with the images that the values name. */ -}}
{{- define "podium.runtimes" -}}
{{- $torchserve := include "podium.image" (merge (dict "registry" .Values.runtimes.registry) .Values.runtimes.torchserve) -}}
{{- $images := dict "onnxruntime" (include "podium.servingImage" .) "torchserve" $torchserve -}}
{{- range $document := regexSplit "(?m)^---\n" (.Files.Get "files/runtimes.yaml") -1 }}
{{- $runtime := fromYaml $document }}
{{- $_ := set $runtime.spec "image" (required (printf "no image for the runtime %s" $runtime.metadata.name) (get $images $runtime.metadata.name)) }}
---
{{ toYaml $runtime }}
{{- end }}
{{- end -}}
