{{- define "gfs-cluster.name" -}}
{{- $name := default .Release.Name .Values.name -}}
{{- if gt (len $name) 30 -}}
{{- fail (printf "the cluster would be named %s: names have at most 30 characters; set `name`" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "gfs-cluster.labels" -}}
app.kubernetes.io/name: gfs-cluster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: gfs
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Of a list of an image block and the tag it has when none is named. */}}
{{- define "gfs-cluster.reference" -}}
{{- $image := first . -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (last .) $image.tag) -}}
{{- end -}}
{{- end }}

{{/* Storage, resources, scheduling and settings of one kind of server; what is empty is left out. */}}
{{- define "gfs-cluster.servers" -}}
storage:
  size: {{ .storage.size | quote }}
  {{- with .storage.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
{{- with .resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $scheduling := dict }}
{{- range $key, $value := .scheduling }}
{{- if $value }}{{ $_ := set $scheduling $key $value }}{{ end }}
{{- end }}
{{- with $scheduling }}
scheduling: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .config }}
config: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* One container of the test. */}}
{{- define "gfs-cluster.step" -}}
- name: {{ .step.name }}
  image: {{ include "gfs-cluster.reference" (list .image .version) | quote }}
  imagePullPolicy: {{ .image.pullPolicy }}
  command: [{{ .step.program }}]
  args: {{- toYaml .step.args | nindent 6 }}
  # GFS_MASTERS
  envFrom:
    - configMapRef: {name: {{ .cluster }}-client}
  volumeMounts:
    - {name: read, mountPath: /read}
  resources:
    requests: {cpu: 50m, memory: 64Mi}
    limits: {memory: 512Mi}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
{{- end }}
