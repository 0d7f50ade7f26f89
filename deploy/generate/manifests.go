package main

import (
	"fmt"
	"io/fs"
	"strings"
)

// template is one template of the chart: a manifest, what has to be so for it to be
// there, and what in it is a value.
type template struct {
	from  string // the manifest, in deploy
	to    string // the template, in the chart's templates
	when  string // condition; empty: always
	parts map[string]string
	edits []edit
}

// edit puts a value in the place of a text, which stands in the manifest once.
type edit struct{ old, now string }

// Conditions that several templates share.
const (
	inPlace    = `ne .Values.mode "pair"`
	byPolicy   = `eq .Values.mode "in-place"`
	byWebhook  = `eq .Values.mode "in-place-webhook"`
	everywhere = `not .Values.namespaces`
	reviewed   = `.Values.page.reviewed`
)

// parts of a template are documents, known by kind and name, with conditions of
// their own.
var rules = []template{
	{from: "base/serviceaccount.yaml", to: "serviceaccount", when: ".Values.serviceAccount.create", edits: []edit{
		{"  name: serin\n", "  name: {{ include \"serin.account\" . }}\n"},
		{"{{- include \"serin.annotations\" . }}", "{{- include \"serin.annotationsAnd\" (list . .Values.serviceAccount.annotations) }}"},
	}},
	{from: "base/rbac.yaml", to: "rbac", parts: map[string]string{"ClusterRoleBinding/serin": everywhere}},
	{from: "namespaced/rbac.yaml", to: "rbac-namespaced", when: ".Values.namespaces"},
	{from: "base/routes.yaml", to: "routes-policy", when: ".Values.routesPolicy"},
	{from: "base/networkpolicy.yaml", to: "networkpolicy", when: ".Values.networkPolicy.enabled", parts: map[string]string{"NetworkPolicy/default-deny": ".Values.networkPolicy.denyOthers"}, edits: networkEdits},
	{from: "base/poddisruptionbudget.yaml", to: "poddisruptionbudget", when: "and .Values.podDisruptionBudget.enabled (gt (int .Values.replicas) 1)", edits: []edit{
		{"minAvailable: 1", "minAvailable: {{ .Values.podDisruptionBudget.minAvailable }}"},
	}},
	{from: "base/service.yaml", to: "service", edits: []edit{
		{"  annotations:\n", "  annotations:\n    {{- with .Values.annotations }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\n"},
		{"prometheus.io/port: \"8080\"", "prometheus.io/port: {{ include \"serin.httpPort\" . | quote }}"},
	}},
	{from: "base/deployment.yaml", to: "deployment", edits: deploymentEdits},
	{from: "in-place/rights/rbac.yaml", to: "rbac-in-place", when: inPlace, parts: map[string]string{"ClusterRoleBinding/serin-in-place": everywhere}},
	{from: "in-place/rights/own-writes.yaml", to: "own-writes-policy", when: inPlace},
	{from: "in-place/rights/promoting.yaml", to: "promoting-policy", when: inPlace},
	{from: "in-place/policy/guard.yaml", to: "guard-policy", when: byPolicy, edits: []edit{
		{"# Where the guard stands. If Serin watches some namespaces only, bound it to these\n# by matchResources.namespaceSelector: nobody would let go what is held elsewhere.\n", "# Where the guard stands: nobody would let go what is held elsewhere.\n"},
		{"  policyName: serin-in-place\n", "  policyName: serin-in-place\n" + bounded},
	}},
	{from: "in-place/webhook/webhook.yaml", to: "guard-webhook", when: byWebhook, edits: webhookEdits},
	{from: "in-place/webhook/certificate.yaml", to: "guard-certificate", when: "and (" + byWebhook + ") .Values.webhook.certManager", edits: []edit{
		{"  secretName: serin-webhook\n", "  secretName: {{ .Values.webhook.secretName }}\n"},
	}},
	{from: "command-by/command-by.yaml", to: "command-by-policy", when: "or .Values.commandBy (" + byPolicy + ")", edits: []edit{
		{"  policyName: serin-command-by\n", "  policyName: serin-command-by\n" + bounded},
	}},
	{from: "page/rbac.yaml", to: "page-rbac", when: reviewed},
	{from: "page/service.yaml", to: "page-service", when: reviewed},
	{from: "page/certificate.yaml", to: "page-certificate", when: "and " + reviewed + " .Values.page.certManager", edits: []edit{
		{"  secretName: serin-page\n", "  secretName: {{ .Values.page.secretName }}\n"},
	}},
	{from: "prometheus/servicemonitor.yaml", to: "servicemonitor", when: ".Values.serviceMonitor.enabled", edits: []edit{
		{"{{- include \"serin.labels\" . | nindent 4 }}\n", "{{- include \"serin.labels\" . | nindent 4 }}\n    {{- with .Values.serviceMonitor.labels }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\n"},
		{"interval: 15s", "interval: {{ .Values.serviceMonitor.interval }}"},
	}},
	{from: "prometheus/prometheusrule.yaml", to: "prometheusrule", when: ".Values.rules.enabled", edits: []edit{
		{"# Written from rules.yaml by: cd e2e/promql && go test . -run Operator -update\n", ""},
		{"{{- include \"serin.labels\" . | nindent 4 }}\n", "{{- include \"serin.labels\" . | nindent 4 }}\n    {{- with .Values.rules.labels }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\n"},
	}},
}

// bounded keeps a policy to the namespaces that Serin watches.
const bounded = `  {{- with .Values.namespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
  {{- end }}
`

var networkEdits = []edit{
	{"    - port: http\n      protocol: TCP\n", `    - port: http
      protocol: TCP
  {{- if eq .Values.mode "in-place-webhook" }}
  # The API server asks, which is no pod.
  - ports:
    - port: webhook
      protocol: TCP
  {{- end }}
  {{- if .Values.page.reviewed }}
  # Whoever signs people in and forwards their token, wherever in the cluster it is.
  - from:
    - namespaceSelector: {}
    ports:
    - port: page
      protocol: TCP
  {{- end }}
  {{- with .Values.networkPolicy.ingress }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
`},
	{`  # Prometheus, as serin.yaml has it: adapt both together. The port is the pods', not
  # the Service's.
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: istio-system
    ports:
    - port: 9090
      protocol: TCP
`, `  # Prometheus, as the values have it. The port is the pods', not the Service's.
  - {{ include "serin.prometheusPeers" . | nindent 4 | trim }}
  {{- with .Values.networkPolicy.egress }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
`},
}

var webhookEdits = []edit{
	{"# The guard for API servers that have none of their own. It does exactly what\n# ../policy/guard.yaml does, and is asked about nothing else; the conditions are the\n# same.", "# The guard for API servers that have none of their own."},
	{`  annotations:
    # cert-manager puts the authority's certificate in. Without it, write it into
    # clientConfig.caBundle, base64 of PEM, and make the Secret serin-webhook with
    # tls.crt and tls.key for the name serin-webhook.{{ .Release.Namespace }}.svc yourself.
    cert-manager.io/inject-ca-from: serin-system/serin-webhook
`, `  {{- if .Values.webhook.certManager }}
  {{- include "serin.annotationsAnd" (list . (dict "cert-manager.io/inject-ca-from" (printf "%s/serin-webhook" .Release.Namespace))) }}
  {{- else }}
  {{- include "serin.annotations" . }}
  {{- end }}
`},
	{"  clientConfig:\n", "  clientConfig:\n    {{- if not .Values.webhook.certManager }}\n    caBundle: {{ .Values.webhook.caBundle }}\n    {{- end }}\n"},
	{"    scope: Namespaced\n", `    scope: Namespaced
  {{- with .Values.namespaces }}
  namespaceSelector:
    matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
  {{- end }}
`},
}

var deploymentEdits = []edit{
	{"replicas: 2", "replicas: {{ .Values.replicas }}"},
	{`        sidecar.istio.io/inject: "false"
`, `        sidecar.istio.io/inject: "false"
        {{- with .Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # A changed configuration restarts the controller.
        checksum/config: {{ include "serin.config" . | sha256sum }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
`},
	{"serviceAccountName: serin\n", "serviceAccountName: {{ include \"serin.account\" . }}\n"},
	{`      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels:
            app.kubernetes.io/name: serin
`, `      {{- include "serin.placed" . | nindent 6 }}
      {{- with .Values.topologySpreadConstraints }}
      topologySpreadConstraints:
      {{- toYaml . | nindent 6 }}
      {{- end }}
`},
	{"        image: serin\n        args: [--config=/etc/serin/serin.yaml]\n", `        {{- include "serin.image" . | nindent 8 }}
        args:
        - --config=/etc/serin/serin.yaml
        {{- if ne .Values.mode "pair" }}
        - --in-place={{ include "serin.guard" . }}
        {{- end }}
        {{- with .Values.namespaces }}
        - --namespaces={{ join "," . }}
        {{- end }}
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
`},
	{`        env:
        # Below the memory limit, so that the collector works harder before the
        # kernel ends the process.
        - name: GOMEMLIMIT
          value: 450MiB
`, `        {{- with include "serin.memoryLimit" . }}
        env:
        # Below the memory limit, so that the collector works harder before the
        # kernel ends the process.
        - name: GOMEMLIMIT
          value: {{ . }}
        {{- end }}
`},
	{"          containerPort: 8080\n", `          containerPort: {{ include "serin.httpPort" . }}
        {{- if eq .Values.mode "in-place-webhook" }}
        - name: webhook
          containerPort: {{ include "serin.webhookPort" . }}
        {{- end }}
        {{- if .Values.page.reviewed }}
        - name: page
          containerPort: {{ include "serin.pagePort" . }}
        {{- end }}
`},
	{`          requests:
            cpu: 50m
            memory: 128Mi
          limits:
            memory: 512Mi
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities:
            drop: [ALL]
`, `          {{- toYaml .Values.resources | nindent 10 }}
        securityContext:
          {{- toYaml .Values.securityContext | nindent 10 }}
`},
	{"          mountPath: /etc/serin\n          readOnly: true\n", `          mountPath: /etc/serin
          readOnly: true
        {{- if eq .Values.mode "in-place-webhook" }}
        - {name: webhook, mountPath: /etc/serin-webhook, readOnly: true}
        {{- end }}
        {{- if .Values.page.reviewed }}
        - {name: page, mountPath: /etc/serin-page, readOnly: true}
        {{- end }}
        {{- if .Values.secretName }}
        - {name: secrets, mountPath: /etc/serin-secrets, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
`},
	{"        configMap:\n          name: serin\n", `        configMap:
          name: serin
      {{- if eq .Values.mode "in-place-webhook" }}
      # Optional, so that Serin starts, and works with two Deployments, before there is
      # a certificate.
      - {name: webhook, secret: {secretName: {{ .Values.webhook.secretName }}, optional: true}}
      {{- end }}
      {{- if .Values.page.reviewed }}
      - {name: page, secret: {secretName: {{ .Values.page.secretName }}, optional: true}}
      {{- end }}
      {{- with .Values.secretName }}
      - {name: secrets, secret: {secretName: {{ . }}}}
      {{- end }}
      {{- with .Values.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
`},
}

// everyEdit is made in every manifest, as often as there is something to edit: what
// names the namespace, the account and the labels.
var everyEdit = []edit{
	{"  namespace: serin-system\n", "  namespace: {{ .Release.Namespace }}\n"},
	{"\n  labels:\n    app.kubernetes.io/name: serin\n  annotations:\n", "\n  labels:\n    {{- include \"serin.labels\" . | nindent 4 }}\n  annotations:\n"},
	{"\n  labels:\n    app.kubernetes.io/name: serin\n", "\n  labels:\n    {{- include \"serin.labels\" . | nindent 4 }}\n  {{- include \"serin.annotations\" . }}\n"},
	{"- kind: ServiceAccount\n  name: serin\n", "- kind: ServiceAccount\n  name: {{ include \"serin.account\" . }}\n"},
	{"'system:serviceaccount:serin-system:serin'", "'system:serviceaccount:{{ .Release.Namespace }}:{{ include \"serin.account\" . }}'"},
	{"[^:]+:serin$", "[^:]+:{{ include \"serin.account\" . }}$"},
	{"serin-webhook.serin-system.svc", "serin-webhook.{{ .Release.Namespace }}.svc"},
	{"serin-page.serin-system.svc", "serin-page.{{ .Release.Namespace }}.svc"},
	{"      namespace: serin-system\n", "      namespace: {{ .Release.Namespace }}\n"},
}

// templates are the templates that are made of manifests, by their paths.
func templates(manifests fs.FS) (map[string]string, error) {
	out := map[string]string{}
	for _, t := range rules {
		text, err := fs.ReadFile(manifests, t.from)
		if err != nil {
			return nil, fmt.Errorf("make the template %s: %w", t.to, err)
		}
		made, err := t.of(string(text))
		if err != nil {
			return nil, fmt.Errorf("make the template %s of %s: %w", t.to, t.from, err)
		}
		out["templates/"+t.to+".yaml"] = made
	}
	return out, nil
}

// of makes the template of the manifest's text.
func (t template) of(text string) (string, error) {
	// What Prometheus expands is text to Helm.
	text = strings.NewReplacer("{{", "{{ \"{{\" }}", "}}", "{{ \"}}\" }}").Replace(text)
	for _, e := range everyEdit {
		text = strings.ReplaceAll(text, e.old, e.now)
	}
	for _, e := range t.edits {
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("this stands in it %d times, and once is what is edited:\n%s", n, e.old)
		}
		text = strings.Replace(text, e.old, e.now, 1)
	}
	if strings.Contains(text, "serin-system") {
		return "", fmt.Errorf("the namespace is still named in it:\n%s", text)
	}
	documents, left := strings.Split(text, "\n---\n"), len(t.parts)
	for i, d := range documents {
		d = strings.TrimSuffix(d, "\n")
		if when, conditional := t.parts[subject(d)]; conditional {
			left--
			d = "{{- if " + when + " }}\n" + d + "\n{{- end }}"
		}
		documents[i] = d
	}
	if left != 0 {
		return "", fmt.Errorf("it has not all of %v", t.parts)
	}
	text = strings.Join(documents, "\n---\n") + "\n"
	if t.when != "" {
		text = "{{- if " + t.when + " }}\n" + text + "{{- end }}\n"
	}
	return "{{- /* Written from deploy/" + t.from + " by: go run ./deploy/generate */}}\n" + text, nil
}

// subject is what a document is about, as kind and name.
func subject(document string) string {
	var kind, name string
	for line := range strings.Lines("\n" + document) {
		line = strings.TrimSuffix(line, "\n")
		if k, is := strings.CutPrefix(line, "kind: "); is && kind == "" {
			kind = k
		}
		if n, is := strings.CutPrefix(line, "  name: "); is && name == "" {
			name = n
		}
	}
	return kind + "/" + name
}
