package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
)

// This file reads the records of releases, and what of them can be gone back to.

// kept is the record of one release.
type kept struct {
	number  int64 // counts a Service's releases up
	release canary.Release
	begun   bool // it is under way
	before  history.Before
	stable  canary.Side // as it was when the release began
	unknown error       // why before is not known; nil: it is
}

// kept are the records of a Service, newest first. Those that somebody else made, or
// that can't be read, are left out.
func (c cluster) kept(ctx context.Context, k objects.Key) ([]kept, error) {
	service, err := c.kube.CoreV1().Services(k.Namespace).Get(ctx, k.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Service %s: %w", k, err)
	}
	records, err := c.kube.AppsV1().ControllerRevisions(k.Namespace).List(ctx, metav1.ListOptions{LabelSelector: history.ServiceLabel + "=" + k.Name})
	if err != nil {
		return nil, fmt.Errorf("read the history of releases, ControllerRevisions of namespace %s: %w", k.Namespace, err)
	}
	var all []kept
	for _, r := range history.NewestFirst(history.Of(string(service.UID), pointers(records.Items))) {
		release, err := history.Release(r)
		if err != nil {
			continue
		}
		one := kept{number: r.Revision, release: release, begun: history.UnderWay(r)}
		one.before, one.stable, one.unknown = history.Snapshot(r)
		all = append(all, one)
	}
	return all, nil
}

func pointers[T any](all []T) []*T {
	out := make([]*T, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}

// named is the release that a person means by its number, or by its id or the
// beginning of it.
func named(all []kept, what string) (kept, error) {
	var known []string
	for _, k := range all {
		if n, err := strconv.ParseInt(what, 10, 64); err == nil && n == k.number {
			return k, nil
		}
		known = append(known, strconv.FormatInt(k.number, 10))
	}
	for _, k := range all {
		if len(what) >= 4 && strings.HasPrefix(k.release.Rollout, what) {
			return k, nil
		}
	}
	if len(known) == 0 {
		return kept{}, errors.New("no release is recorded")
	}
	return kept{}, fmt.Errorf("no release %s is recorded; there are %s", what, strings.Join(known, ", "))
}

// version is what a release made users run, or what it took the place of: a pod
// template whose images are named by digest.
type version struct {
	name     string // as it is told: release 3
	side     canary.Side
	template map[string]any
	images   []canary.Image
	config   []history.Config
	required []string // ConfigMaps without which its pods don't start
	secrets  []string
}

// released is the version that a release made users run. The error says why nobody can
// go back to it.
func (k kept) released() (version, error) {
	switch {
	case k.begun:
		return version{}, errors.New("it is under way")
	case k.release.Outcome == canary.RolledBack:
		return version{}, fmt.Errorf("it was rolled back (%s)", k.release.Reason)
	}
	return k.versionOf(fmt.Sprintf("release %d", k.number), k.release.Canary, k.before.Template, k.release.Images)
}

// replaced is the version that ran before a release.
func (k kept) replaced() (version, error) {
	return k.versionOf(fmt.Sprintf("the version before release %d", k.number), k.stable, k.before.StableTemplate, k.release.StableImages)
}

func (k kept) versionOf(name string, side canary.Side, template json.RawMessage, images []canary.Image) (version, error) {
	v := version{name: name, side: side, images: images, config: k.before.Config}
	switch {
	case k.unknown != nil:
		return v, k.unknown
	case len(template) == 0:
		return v, errors.New("its pod template is not kept" + lacking(k.before.Lacks, "pod template"))
	}
	typed, _, err := objects.TemplateHash(template)
	if err == nil {
		err = json.Unmarshal(template, &v.template)
	}
	if err != nil {
		return v, err
	}
	configMaps, secrets := history.References(typed)
	v.required, v.secrets = history.Required(typed), secrets
	v.config = slices.DeleteFunc(slices.Clone(v.config), func(c history.Config) bool { return !slices.Contains(configMaps, c.Name) })
	return v, byDigest(v.template, images)
}

// lacking is what a record says of what it lacks, if it says something of it.
func lacking(all []string, what string) string {
	for _, sentence := range all {
		if strings.Contains(sentence, what) {
			return ": " + sentence
		}
	}
	return ""
}

// digestForm is a digest. A record is an object that others can write too.
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// byDigest names the images of a pod template by digest. It fails where one was not
// reported: its tag may be another image by now.
func byDigest(template map[string]any, images []canary.Image) error {
	var missing []string
	for _, c := range containersOf(template) {
		name, _ := c["name"].(string)
		reference, _ := c["image"].(string)
		if strings.Contains(reference, "@") {
			continue
		}
		digest := digestOf(images, name, reference)
		if digest == "" {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, reference))
			continue
		}
		c["image"] = reference + "@" + digest
	}
	if len(missing) > 0 {
		return fmt.Errorf("no digest is recorded for %s, and a tag may be another image by now", strings.Join(missing, ", "))
	}
	return nil
}

// digestOf is the digest that a container's pods reported; empty where none is known.
func digestOf(images []canary.Image, container, reference string) string {
	for _, i := range images {
		if i.Container == container && i.Reference == reference && digestForm.MatchString(i.Digest) {
			return i.Digest
		}
	}
	return ""
}

// containersOf are the containers of a pod template, those that run first at the end.
func containersOf(template map[string]any) (all []map[string]any) {
	spec, _ := template["spec"].(map[string]any)
	for _, field := range []string{"containers", "initContainers"} {
		list, _ := spec[field].([]any)
		for _, item := range list {
			if c, is := item.(map[string]any); is {
				all = append(all, c)
			}
		}
	}
	return all
}

// labelsOf are a pod template's labels.
func labelsOf(template map[string]any) any {
	metadata, _ := template["metadata"].(map[string]any)
	return metadata["labels"]
}

// relabelled is a pod template with other labels.
func relabelled(template map[string]any, labels any) map[string]any {
	metadata, _ := template["metadata"].(map[string]any)
	changed := map[string]any{}
	for key, value := range metadata {
		changed[key] = value
	}
	changed["labels"] = labels
	return map[string]any{"metadata": changed, "spec": template["spec"]}
}

// treeOf is a pod template as a tree of its own.
func treeOf(t corev1.PodTemplateSpec) map[string]any {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // it came as JSON
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		panic(err)
	}
	return tree
}

// essence is a pod template without what tells two Deployments apart, its images by
// digest where the digests are known: equal for two that run the same.
func essence(template map[string]any, images []canary.Image) string {
	text, err := json.Marshal(template)
	if err != nil {
		panic(err) // it came as JSON
	}
	var typed corev1.PodTemplateSpec
	if json.Unmarshal(text, &typed) != nil {
		return string(text)
	}
	typed.Labels = nil
	for _, list := range [][]corev1.Container{typed.Spec.Containers, typed.Spec.InitContainers} {
		for i := range list {
			reference := list[i].Image
			if !strings.Contains(reference, "@") {
				reference += "@" + digestOf(images, list[i].Name, reference)
			}
			list[i].Image = untagged(reference)
		}
	}
	text, err = json.Marshal(typed)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// untagged is an image's name and digest; with its tag where it has no digest.
func untagged(reference string) string {
	name, digest, _ := strings.Cut(reference, "@")
	if digest == "" {
		return name
	}
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	return name + "@" + digest
}

// settings are the ConfigMaps of a version, compared with what they are now.
type settings struct {
	gone    []string // without which no pod starts
	changed []string
	unread  []string // that the user may not read, or whose content was not recorded
}

// settingsOf reads the ConfigMaps that a version names, with the user's rights.
func (c cluster) settingsOf(ctx context.Context, namespace string, v version) (settings, error) {
	var out settings
	for _, was := range v.config {
		now, err := c.kube.CoreV1().ConfigMaps(namespace).Get(ctx, was.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && slices.Contains(v.required, was.Name):
			out.gone = append(out.gone, was.Name)
		case apierrors.IsNotFound(err) && !was.Absent:
			out.changed = append(out.changed, was.Name)
		case apierrors.IsNotFound(err):
		case apierrors.IsForbidden(err), err == nil && was.Hash == "" && !was.Absent:
			out.unread = append(out.unread, was.Name)
		case err != nil:
			return out, fmt.Errorf("read ConfigMap %s/%s: %w", namespace, was.Name, err)
		case was.Absent || history.HashConfig(now) != was.Hash:
			out.changed = append(out.changed, was.Name)
		}
	}
	return out, nil
}

// yamlOf is JSON, or a tree of it, as YAML; empty for nothing.
func yamlOf(value any) ([]byte, error) {
	if raw, is := value.(json.RawMessage); is && len(raw) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return yaml.JSONToYAML(text)
}

// shortDigest is what people tell digests apart by.
func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(len(hex), 12)]
}

// imageText is an image as people know it: the end of its name, its tag, and the
// beginning of its digest.
func imageText(i canary.Image) string {
	name, digest, named := strings.Cut(i.Reference, "@")
	name = name[strings.LastIndex(name, "/")+1:]
	if !named {
		digest = i.Digest
	}
	if digest == "" {
		return name
	}
	return name + "@" + shortDigest(digest)
}

// imagesText are images in one line.
func imagesText(all []canary.Image) string {
	var texts []string
	for _, i := range all {
		texts = append(texts, imageText(i))
	}
	return orDash(strings.Join(texts, ", "))
}
