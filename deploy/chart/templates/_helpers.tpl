{{- define "pgembedd.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pgembedd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgembedd.labels" -}}
{{ include "pgembedd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "pgembedd.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* What every pod has. */ -}}
{{- define "pgembedd.pod" -}}
automountServiceAccountToken: false
# A Service called pgembedd-http would else put its address into PGEMBEDD_HTTP_PORT.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "pgembedd.container" -}}
image: {{ include "pgembedd.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: ["ALL"]}
volumeMounts:
  - {name: credentials, mountPath: /run/secrets/pgembedd, readOnly: true}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- /* A Deployment that answers HTTP: the workers, or the service alone. */ -}}
{{- define "pgembedd.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "pgembedd.name" . }}-{{ .component }}
  labels:
    {{- include "pgembedd.labels" . | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  {{- if not .scaled }}
  replicas: {{ .own.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "pgembedd.selector" . | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "pgembedd.labels" . | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
    spec:
      {{- include "pgembedd.pod" . | nindent 6 }}
      # More than PGEMBEDD_GRACE_S, so that a drain is not cut short.
      terminationGracePeriodSeconds: {{ .Values.settings.PGEMBEDD_GRACE_S | default 20 | ceil | add 40 }}
      {{- with .own.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .own.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .own.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      initContainers:
        # The models of the image, into a folder that can be written to.
        - name: cache
          {{- include "pgembedd.container" . | nindent 10 }}
            - {name: cache, mountPath: /cache}
          command: [cp, -au, /var/cache/pgembedd, /cache]
          resources:
            {{- toYaml .own.resources | nindent 12 }}
      containers:
        - name: {{ .component }}
          {{- include "pgembedd.container" . | nindent 10 }}
            - {name: cache, mountPath: /var/cache}
          args: ["{{ .command }}"]
          env:
            - {name: DATABASE_URL_FILE, value: /run/secrets/pgembedd/worker-url}
            {{- if eq .component "worker" }}
            - {name: PGEMBEDD_HTTP, value: "1"}
            {{- end }}
            - {name: PGEMBEDD_HTTP_HOST, value: 0.0.0.0}
            - {name: PGEMBEDD_HTTP_TOKENS_FILE, value: /run/secrets/pgembedd/http-tokens}
            {{- if .Values.searches }}
            - {name: PGEMBEDD_SEARCH_URL_FILE, value: /run/secrets/pgembedd/search-url}
            {{- end }}
            {{- range $name, $value := .Values.settings }}
            - {name: {{ $name }}, value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}}
            {{- end }}
          ports:
            - {name: http, containerPort: 8432}
          # The first start may fetch a model and build its graph. A database that is away makes the pod unready and
          # is no reason to restart it: it waits.
          startupProbe:
            httpGet: {path: /startupz, port: http}
            periodSeconds: 5
            failureThreshold: 180
          livenessProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 20
            timeoutSeconds: 5
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 10
            timeoutSeconds: 8
          resources:
            {{- toYaml .own.resources | nindent 12 }}
      volumes:
        - name: credentials
          secret:
            secretName: {{ .Values.secret }}
            defaultMode: 0440
            items:
              - {key: worker-url, path: worker-url}
              - {key: http-tokens, path: http-tokens}
              {{- if .Values.searches }}
              - {key: search-url, path: search-url}
              {{- end }}
              {{- range .Values.files }}
              - {key: {{ . | quote }}, path: {{ . | quote }}}
              {{- end }}
        - {name: tmp, emptyDir: {}}
        {{- if .Values.cacheClaim }}
        - {name: cache, persistentVolumeClaim: {claimName: {{ .Values.cacheClaim }}}}
        {{- else }}
        - {name: cache, emptyDir: {}}
        {{- end }}
{{- end }}

{{- /* The pods that the Service leads to. */ -}}
{{- define "pgembedd.serving" -}}
{{ include "pgembedd.selector" . }}
app.kubernetes.io/component: {{ if .Values.http.replicas }}http{{ else }}worker{{ end }}
{{- end }}
