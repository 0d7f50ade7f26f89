package history

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// References are the names of the ConfigMaps and the Secrets that a pod template
// names, each sorted and once: by environment, volumes and image pulls.
func References(t corev1.PodTemplateSpec) (configMaps, secrets []string) {
	var found references
	found.template(t)
	return unique(found.configMaps), unique(found.secrets)
}

func (r *references) template(t corev1.PodTemplateSpec) {
	for _, v := range t.Spec.Volumes {
		r.volume(v)
	}
	for _, c := range slices.Concat(t.Spec.InitContainers, t.Spec.Containers) {
		r.environment(c.EnvFrom, c.Env)
	}
	for _, s := range t.Spec.ImagePullSecrets {
		r.secret(s.Name)
	}
}

// Required are the names of the ConfigMaps without which a pod of the template does not
// start, sorted and once.
func Required(t corev1.PodTemplateSpec) []string {
	found := references{requiredOnly: true}
	found.template(t)
	return unique(found.configMaps)
}

type references struct {
	configMaps, secrets []string
	requiredOnly        bool // optional ConfigMaps are left out
}

func (r *references) config(name string, optional *bool) {
	if r.requiredOnly && optional != nil && *optional {
		return
	}
	r.configMaps = append(r.configMaps, name)
}

func (r *references) secret(name string) { r.secrets = append(r.secrets, name) }

func (r *references) volume(v corev1.Volume) {
	if v.ConfigMap != nil {
		r.config(v.ConfigMap.Name, v.ConfigMap.Optional)
	}
	if v.Secret != nil {
		r.secret(v.Secret.SecretName)
	}
	if v.CSI != nil && v.CSI.NodePublishSecretRef != nil {
		r.secret(v.CSI.NodePublishSecretRef.Name)
	}
	if v.Projected == nil {
		return
	}
	for _, s := range v.Projected.Sources {
		if s.ConfigMap != nil {
			r.config(s.ConfigMap.Name, s.ConfigMap.Optional)
		}
		if s.Secret != nil {
			r.secret(s.Secret.Name)
		}
	}
}

func (r *references) environment(from []corev1.EnvFromSource, env []corev1.EnvVar) {
	for _, f := range from {
		if f.ConfigMapRef != nil {
			r.config(f.ConfigMapRef.Name, f.ConfigMapRef.Optional)
		}
		if f.SecretRef != nil {
			r.secret(f.SecretRef.Name)
		}
	}
	for _, e := range env {
		if e.ValueFrom == nil {
			continue
		}
		if k := e.ValueFrom.ConfigMapKeyRef; k != nil {
			r.config(k.Name, k.Optional)
		}
		if k := e.ValueFrom.SecretKeyRef; k != nil {
			r.secret(k.Name)
		}
	}
}

// unique sorts, and drops repetitions and what is empty.
func unique(names []string) []string {
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" })
}

// HashConfig is the identity of a ConfigMap's content: sha256 over the canonical JSON
// (encoding/json sorts maps) of its data and binaryData, in hex.
func HashConfig(m *corev1.ConfigMap) string {
	text, err := json.Marshal(struct {
		Data   map[string]string `json:"data,omitempty"`
		Binary map[string][]byte `json:"binaryData,omitempty"`
	}{m.Data, m.BinaryData})
	if err != nil {
		panic(err) // maps of strings and bytes always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
