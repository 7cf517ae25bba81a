{{- define "precis.selector" -}}
app.kubernetes.io/name: precis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "precis.labels" -}}
{{ include "precis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "precis.metadata" -}}
name: {{ .Release.Name }}
labels:
  {{- include "precis.labels" . | nindent 2 }}
{{- end }}
