{{/* The name of the chart's objects: that of the release, if it says what they are. */}}
{{- define "gfs-operator.fullname" -}}
{{- $name := .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* The first is how the NetworkPolicies of clusters know the operator. */}}
{{- define "gfs-operator.selectorLabels" -}}
app.kubernetes.io/name: gfs-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gfs-operator.labels" -}}
{{ include "gfs-operator.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: gfs
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gfs-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gfs-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "gfs-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/* What the operator does to clusters and their objects, and no more. */}}
{{- define "gfs-operator.rules" -}}
- apiGroups: [gfs.rs]
  resources: [gfsclusters]
  verbs: [get, list, watch]
- apiGroups: [gfs.rs]
  resources: [gfsclusters/status]
  verbs: [update]
# Some API servers want this of whoever makes a cluster the owner of an object.
- apiGroups: [gfs.rs]
  resources: [gfsclusters/finalizers]
  verbs: [update]
# Never deleted: with it would go pods that hold data.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# The one child that a manifest can stop asking for.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# It restarts outdated pods by deleting them.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
# It restarts no pod whose volume would go with it, formats no master beside volumes of an earlier cluster, and deletes those of a
# cluster that was deleted and gave up its data twice.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
