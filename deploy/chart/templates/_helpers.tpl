{{/* What all objects are known by. A user's labels add to these. */}}
{{- define "serin.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" "serin"
  "app.kubernetes.io/part-of" "serin"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- merge $own .Values.labels | toYaml }}
{{- end }}

{{/* Annotations of all objects, with their key; nothing where there are none. */}}
{{- define "serin.annotations" -}}
{{- include "serin.annotationsAnd" (list . dict) }}
{{- end }}

{{/* The same with those of one object, which win: a list of the root and these. */}}
{{- define "serin.annotationsAnd" -}}
{{- with merge (dict) (index . 1) (index . 0).Values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The name of Serin's ServiceAccount, which its policies know. */}}
{{- define "serin.account" -}}
{{ .Values.serviceAccount.name }}
{{- end }}

{{/* The image and when it is pulled. */}}
{{- define "serin.image" -}}
image: {{ with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{/* What the pods of Serin and of the hook have in common. */}}
{{- define "serin.placed" -}}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* What holds a changed template back. */}}
{{- define "serin.guard" -}}
{{ get (dict "in-place" "policy" "in-place-webhook" "webhook" "in-place-pause" "pause") .Values.mode }}
{{- end }}

{{/* 88% of the memory limit, for the Go runtime; nothing where the limit is none in Mi or Gi. */}}
{{- define "serin.memoryLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- if regexMatch "^[0-9]+Mi$" $limit -}}
{{ div (mul (trimSuffix "Mi" $limit | int) 88) 100 }}MiB
{{- else if regexMatch "^[0-9]+Gi$" $limit -}}
{{ div (mul (trimSuffix "Gi" $limit | int) 90112) 100 }}MiB
{{- end }}
{{- end }}

{{/* The port of an address like ":8080" in the configuration: a list of the root, the address, and the default. */}}
{{- define "serin.port" -}}
{{ splitList ":" (index . 1 | default (index . 2)) | last }}
{{- end }}

{{- define "serin.httpPort" -}}
{{ include "serin.port" (list . (dig "listen" "" .Values.config) ":8080") }}
{{- end }}

{{- define "serin.webhookPort" -}}
{{ include "serin.port" (list . (dig "inPlace" "webhook" "listen" "" .Values.config) ":8443") }}
{{- end }}

{{- define "serin.pagePort" -}}
{{ include "serin.port" (list . (dig "page" "listen" "" .Values.config) ":9092") }}
{{- end }}

{{/* Where Prometheus is; serin.check insists on it. */}}
{{- define "serin.prometheusURL" -}}
{{ .Values.prometheus.url | default (dig "prometheus" "url" "" .Values.config) }}
{{- end }}

{{/* The controller's configuration: what the values say, and over it what is under config. */}}
{{- define "serin.config" -}}
{{- $said := dict "prometheus" (dict "url" (include "serin.prometheusURL" .)) "leaderElection" (dict "namespace" .Release.Namespace) -}}
{{- if .Values.page.reviewed }}
{{- $_ := set $said "page" (dict "listen" ":9092" "access" "reviewed" "certificate" "/etc/serin-page/tls.crt" "key" "/etc/serin-page/tls.key") }}
{{- end }}
{{- mergeOverwrite $said (deepCopy .Values.config) | toYaml }}
{{- end }}

{{/* Prometheus's pods, as a rule of a NetworkPolicy. The Service of one may have another port than its pods. */}}
{{- define "serin.prometheusPeers" -}}
{{- $url := urlParse (include "serin.prometheusURL" .) -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- $labels := splitList "." (regexReplaceAll ":[0-9]+$" $url.host "") -}}
{{- $inside := and (not (regexMatch "^[0-9.]+$" (join "." $labels))) (or (eq (len $labels) 2) (and (gt (len $labels) 2) (eq (index $labels 2) "svc"))) -}}
{{- $to := .Values.networkPolicy.prometheus.to -}}
{{- if and (not $to) $inside }}
{{- $to = list (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" (index $labels 1)))) }}
{{- end }}
{{- with $to -}}
to:
{{- toYaml . | nindent 0 }}
{{ end -}}
ports:
{{- range .Values.networkPolicy.prometheus.ports | default (list (int $port) 9090 | uniq) }}
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}

{{/* What no schema can say: values that are right alone and wrong together. */}}
{{- define "serin.check" -}}
{{- $version := .Capabilities.KubeVersion.Version -}}
{{- $faults := list -}}
{{- $other := dig "prometheus" "url" "" .Values.config -}}
{{- if not (include "serin.prometheusURL" .) }}
{{- $faults = append $faults "prometheus.url is missing: set it to where your Prometheus answers, as by --set prometheus.url=http://prometheus.monitoring:9090" }}
{{- end }}
{{- if and $other .Values.prometheus.url (ne $other .Values.prometheus.url) }}
{{- $faults = append $faults (printf "prometheus.url is %s and config.prometheus.url is %s: take one of them away" .Values.prometheus.url $other) }}
{{- end }}
{{- if and (eq .Values.mode "in-place-webhook") (not .Values.webhook.certManager) (not .Values.webhook.caBundle) }}
{{- $faults = append $faults "webhook.caBundle is missing: set it to the certificate of who signed the webhook's, base64 of PEM; or set webhook.certManager to true" }}
{{- end }}
{{- if and (eq .Values.mode "in-place") (semverCompare "<1.36.0-0" $version) }}
{{- $faults = append $faults (printf "mode: in-place needs Kubernetes 1.36 or newer, and this is %s: set it to in-place-webhook or in-place-pause" $version) }}
{{- end }}
{{- if and .Values.commandBy (semverCompare "<1.36.0-0" $version) }}
{{- $faults = append $faults (printf "commandBy needs Kubernetes 1.36 or newer, and this is %s: set it to false" $version) }}
{{- end }}
{{- if and .Values.routesPolicy (semverCompare "<1.33.0-0" $version) }}
{{- $faults = append $faults (printf "routesPolicy needs Kubernetes 1.33 or newer, and this is %s: set it to false, which docs/least-privilege.md speaks of" $version) }}
{{- end }}
{{- if dig "namespaces" list .Values.config }}
{{- if ne (dig "namespaces" list .Values.config | sortAlpha | toJson) (.Values.namespaces | sortAlpha | toJson) }}
{{- $faults = append $faults "config.namespaces: set namespaces instead, by which Serin has rights in them" }}
{{- end }}
{{- end }}
{{- if and (dig "inPlace" "enabled" false .Values.config) (eq .Values.mode "pair") }}
{{- $faults = append $faults "config.inPlace.enabled: set mode instead, by which Serin has rights for it" }}
{{- end }}
{{- if ne (eq (dig "page" "access" "loopback" .Values.config) "reviewed") .Values.page.reviewed }}
{{- if or (not .Values.page.reviewed) (dig "page" "access" "" .Values.config) }}
{{- $faults = append $faults "config.page.access: set page.reviewed instead, by which Serin may ask who reads" }}
{{- end }}
{{- end }}
{{- if not (has (dig "leaderElection" "namespace" "" .Values.config) (list "" .Release.Namespace)) }}
{{- $faults = append $faults (printf "config.leaderElection.namespace: Serin has a right on its Lease in %s only; take it away" .Release.Namespace) }}
{{- end }}
{{- if and .Values.podDisruptionBudget.enabled (gt (int .Values.replicas) 1) (ge (int .Values.podDisruptionBudget.minAvailable) (int .Values.replicas)) }}
{{- $faults = append $faults (printf "podDisruptionBudget.minAvailable is %v of %v replicas, so that no node could be drained: set it to less" .Values.podDisruptionBudget.minAvailable .Values.replicas) }}
{{- end }}
{{- with $faults }}
{{- fail (printf "\n%s" (join "\n" .)) }}
{{- end }}
{{- end }}
