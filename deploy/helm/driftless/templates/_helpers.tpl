{{/* Names, labels and checks that the templates share. */}}

{{- define "driftless.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a selector of pods must match; it may never change. */}}
{{- define "driftless.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "driftless.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "driftless.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "driftless.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "driftless.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "driftless.secretName" -}}
{{ .Values.existingSecret | default (include "driftless.fullname" .) }}
{{- end -}}

{{/* What the schema cannot say with a message that helps. */}}
{{- define "driftless.check" -}}
{{- $settings := .Values.settings -}}
{{- $auth := or $settings.auth_jwks_url $settings.auth_keys $settings.auth_hook_url -}}
{{- if not (or $auth .Values.existingSecret .Values.insecureOpen) -}}
{{- fail "say who may connect: settings.auth_jwks_url or settings.auth_hook_url (docs/authentication.md), existingSecret with DRIFTLESS_AUTH_SECRET, or insecureOpen=true, with which whoever reaches the service can read and change every document" -}}
{{- end -}}
{{- if and (not .Values.existingSecret) (not (and .Values.store.url .Values.bus.url)) -}}
{{- fail "set store.url (postgres://…) and bus.url (redis://…), or existingSecret" -}}
{{- end -}}
{{- end -}}

{{- define "driftless.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "driftless.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}
