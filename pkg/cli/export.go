package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
)

func isGone(err error) bool { return apierrors.IsNotFound(err) }

// add keeps an object's spec.
func add(all []history.Document, k canary.ObjectKey, spec any) ([]history.Document, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k, err)
	}
	return append(all, history.Document{Namespace: k.Namespace, Name: k.Name, Spec: text}), nil
}

// Permissions of what is exported: ConfigMaps and routes are nobody else's business
// either.
const (
	folderMode = 0o700
	fileMode   = 0o600
)

// folder is an export under way.
type folder struct {
	path  string
	wrote []string // lines for the README
	err   error
}

// write writes a file of the export; after a failure nothing more is written.
func (f *folder) write(name, what string, body []byte) {
	if f.err != nil {
		return
	}
	path := filepath.Join(f.path, filepath.FromSlash(name))
	if f.err = os.MkdirAll(filepath.Dir(path), folderMode); f.err != nil {
		return
	}
	f.err = os.WriteFile(path, body, fileMode)
	if what != "" {
		f.wrote = append(f.wrote, "| `"+name+"` | "+what+" |")
	}
}

// object writes an object as YAML, without what the API server keeps of it for itself.
func (f *folder) object(name, what string, o any) {
	text, err := json.Marshal(o)
	var tree map[string]any
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if metadata, is := tree["metadata"].(map[string]any); is {
		for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"} {
			delete(metadata, field)
		}
	}
	delete(tree, "status")
	var body []byte
	if err == nil {
		body, err = yaml.Marshal(tree)
	}
	if err != nil && f.err == nil {
		f.err = err
	}
	f.write(name, what, body)
}

// export writes what is kept of a release, and what the Service has now, into a folder
// that must not exist or be empty.
func (s *session) export(ctx context.Context, k objects.Key, one kept, path string, secrets bool) error {
	if one.unknown != nil {
		return fmt.Errorf("export release %d of %s: %w", one.number, k, one.unknown)
	}
	if there, err := os.ReadDir(path); err == nil && len(there) > 0 {
		return fmt.Errorf("export release %d of %s: the folder %s is not empty; name another", one.number, k, path)
	}
	f := &folder{path: path}
	f.then(one)
	if err := s.exportNow(ctx, f, k, one, secrets); err != nil {
		return fmt.Errorf("export release %d of %s: %w", one.number, k, err)
	}
	differs, err := s.differences(ctx, k, one)
	if err != nil {
		return fmt.Errorf("export release %d of %s: %w", one.number, k, err)
	}
	f.write("README.md", "", f.readme(k, one, differs, secrets))
	if f.err != nil {
		return fmt.Errorf("export release %d of %s: %w", one.number, k, f.err)
	}
	if secrets && len(one.before.Secrets) > 0 {
		s.note("Secrets are in " + filepath.Join(path, "now", "secret-*.yaml") + ", in plain text; only you can read them there. Keep them out of Git")
	}
	_, err = fmt.Fprintf(s.streams.Out, "Release %d of %s is in %s, and what there is now; README.md there says what is what.\n", one.number, k, path)
	return err
}

// then writes what is kept.
func (f *folder) then(one kept) {
	b := one.before
	for _, part := range []struct {
		kind string
		all  []history.Document
	}{{"VirtualService", b.Routes}, {"DestinationRule", b.Rules}} {
		for _, d := range part.all {
			f.object("then/"+strings.ToLower(part.kind)+"-"+d.Namespace+"-"+d.Name+".yaml", part.kind+" as it was before the first write", map[string]any{
				"apiVersion": "networking.istio.io/v1", "kind": part.kind, "metadata": map[string]any{"namespace": d.Namespace, "name": d.Name}, "spec": d.Spec,
			})
		}
	}
	for _, part := range []struct {
		name, what string
		text       json.RawMessage
	}{{"template", "the pod template that was released", b.Template}, {"stable-template", "the pod template that ran before it", b.StableTemplate}} {
		if len(part.text) == 0 {
			continue
		}
		body, err := yamlOf(part.text)
		if err != nil && f.err == nil {
			f.err = err
		}
		f.write("then/"+part.name+".yaml", part.what, body)
	}
	r := one.release
	f.object("then/release.yaml", "how it went: settings, images by digest, result", map[string]any{
		"number": one.number, "rollout": r.Rollout, "started": r.Started, "ended": r.Ended, "outcome": r.Outcome, "reason": r.Reason, "message": r.Message,
		"images": r.Images, "stableImages": r.StableImages, "approvals": r.Approvals, "unverified": r.Unverified, "spec": r.Spec, "configMaps": b.Config, "secrets": b.Secrets,
	})
}

// exportNow writes what the Service has now. What the user may not read is left out,
// and told.
func (s *session) exportNow(ctx context.Context, f *folder, k objects.Key, one kept, secrets bool) error {
	now, err := s.now(ctx, k, nil)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		kind string
		all  []history.Document
	}{{"VirtualService", now.routes}, {"DestinationRule", now.rules}} {
		for _, d := range part.all {
			f.object("now/"+strings.ToLower(part.kind)+"-"+d.Namespace+"-"+d.Name+".yaml", part.kind+" as it is now", map[string]any{
				"apiVersion": "networking.istio.io/v1", "kind": part.kind, "metadata": map[string]any{"namespace": d.Namespace, "name": d.Name}, "spec": d.Spec,
			})
		}
	}
	kube := s.cluster.kube
	var errs []error
	for _, c := range one.before.Config {
		m, err := kube.CoreV1().ConfigMaps(k.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
		if errs = append(errs, s.passable(err)); err == nil {
			m.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
			f.object("now/configmap-"+c.Name+".yaml", "ConfigMap as it is now", m)
		}
	}
	ingresses, err := kube.NetworkingV1().Ingresses(k.Namespace).List(ctx, metav1.ListOptions{})
	if errs = append(errs, s.passable(err)); err == nil {
		for _, i := range ingresses.Items {
			if leadsTo(i, k.Name) {
				i.TypeMeta = metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}
				f.object("now/ingress-"+i.Name+".yaml", "Ingress that leads to the Service, as it is now", i)
			}
		}
	}
	if secrets {
		for _, name := range one.before.Secrets {
			secret, err := kube.CoreV1().Secrets(k.Namespace).Get(ctx, name, metav1.GetOptions{})
			if errs = append(errs, s.passable(err)); err == nil {
				secret.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
				f.object("now/secret-"+name+".yaml", "Secret as it is now, **in plain text**", secret)
			}
		}
	}
	return errors.Join(errs...)
}

// passable is an error unless it only says that something is not there, or not for
// this user, which is told.
func (s *session) passable(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		s.note("left out: " + err.Error())
		return nil
	}
	return err
}

// leadsTo tells that an Ingress has a backend that is the Service.
func leadsTo(i networkingv1.Ingress, service string) bool {
	is := func(b *networkingv1.IngressBackend) bool {
		return b != nil && b.Service != nil && b.Service.Name == service
	}
	if is(i.Spec.DefaultBackend) {
		return true
	}
	return slices.ContainsFunc(i.Spec.Rules, func(r networkingv1.IngressRule) bool {
		return r.HTTP != nil && slices.ContainsFunc(r.HTTP.Paths, func(p networkingv1.HTTPIngressPath) bool { return is(&p.Backend) })
	})
}

// differences are what differs now from what is kept, in sentences.
func (s *session) differences(ctx context.Context, k objects.Key, one kept) ([]string, error) {
	now, err := s.now(ctx, k, []kept{one})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, kind := range []struct {
		name     string
		then, is []history.Document
	}{{"VirtualService", one.before.Routes, now.routes}, {"DestinationRule", one.before.Rules, now.rules}} {
		for _, d := range kind.then {
			name := d.Namespace + "/" + d.Name
			old, err := specText(kind.then, name)
			if err != nil {
				return nil, err
			}
			text, err := specText(kind.is, name)
			switch {
			case err != nil:
				return nil, err
			case text == nil:
				all = append(all, kind.name+" "+name+" is gone")
			case !bytes.Equal(text, old):
				all = append(all, kind.name+" "+name+" has changed")
			}
		}
	}
	found, err := s.cluster.settingsOf(ctx, k.Namespace, version{config: one.before.Config})
	if err != nil {
		return nil, err
	}
	for _, c := range one.before.Config {
		if text := configText(c, found); text != "is what it was" {
			all = append(all, "ConfigMap "+c.Name+" "+text)
		}
	}
	return all, nil
}

func (f *folder) readme(k objects.Key, one kept, differs []string, secrets bool) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Release %d of %s\n\n", one.number, k)
	b.WriteString("`then` is what was recorded when the release began; `now` is what there was when this was written, read with your rights. Nothing here applies itself.\n\n")
	b.WriteString("| File | What it is |\n|---|---|\n" + strings.Join(f.wrote, "\n") + "\n\n## What differs from then\n\n")
	if len(differs) == 0 {
		b.WriteString("Nothing that was recorded.\n")
	}
	for _, d := range differs {
		b.WriteString("- " + d + "\n")
	}
	if len(one.before.Secrets) > 0 {
		b.WriteString("\n## Secrets\n\nThe pods take " + strings.Join(one.before.Secrets, ", ") + ". Nobody recorded what was in them, so whether they changed is not known.")
		if secrets {
			b.WriteString(" They are here as they are now, in plain text: keep this folder out of Git.")
		}
		b.WriteString("\n")
	}
	if len(one.before.Lacks) > 0 {
		b.WriteString("\n## What is not kept\n\n- " + strings.Join(one.before.Lacks, "\n- ") + "\n")
	}
	fmt.Fprintf(&b, "\n## Going back\n\n`kubectl canary rollback %s --to %d -n %s --dry-run` shows what it would change.\n", k.Name, one.number, k.Namespace)
	return []byte(b.String())
}
