// Package gitops makes of a manifest in Git what a GitOps tool writes to the
// cluster: as Argo CD does it by ignoreDifferences with RespectIgnoreDifferences,
// and as Flux does it by its annotations.
package gitops

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"
)

// Rule is an entry of an Application's ignoreDifferences.
type Rule struct {
	Group       string   `json:"group"`
	Kind        string   `json:"kind"`
	Expressions []string `json:"jqPathExpressions"`
}

// Rules are the ignoreDifferences of a file with an Application. Without
// RespectIgnoreDifferences a sync does not go by them: then there are none, unless
// partial says that the file holds nothing but rules.
func Rules(file string, partial bool) ([]Rule, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the application: %w", err)
	}
	var a struct {
		Spec struct {
			SyncPolicy struct {
				Options []string `json:"syncOptions"`
			} `json:"syncPolicy"`
			Ignore []Rule `json:"ignoreDifferences"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("read the application %s: %w", file, err)
	}
	if !partial && !slices.Contains(a.Spec.SyncPolicy.Options, "RespectIgnoreDifferences=true") {
		return nil, nil
	}
	return a.Spec.Ignore, nil
}

// Target is what is written for the manifest git where the cluster has live: what
// the rules ignore is taken from live, whole lists at a time.
func Target(rules []Rule, git, live map[string]any) (map[string]any, error) {
	without, bare, err := both(rules, git, live)
	if err != nil {
		return nil, err
	}
	texts := make([][]byte, 0, 3)
	for _, doc := range []map[string]any{bare, live, without} {
		text, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	kept, err := jsonpatch.CreateMergePatch(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("find what is ignored: %w", err)
	}
	text, err := jsonpatch.MergePatch(texts[2], kept)
	if err != nil {
		return nil, fmt.Errorf("put in what is ignored: %w", err)
	}
	out := map[string]any{}
	err = json.Unmarshal(text, &out)
	return out, err
}

// InSync tells whether the tool sees no difference: all that Git says is so, but
// for what the rules ignore.
func InSync(rules []Rule, git, live map[string]any) (bool, error) {
	want, have, err := both(rules, git, live)
	return err == nil && within(want, have), err
}

func both(rules []Rule, git, live map[string]any) (want, have map[string]any, err error) {
	if want, err = Without(rules, git); err != nil {
		return nil, nil, err
	}
	have, err = Without(rules, live)
	return want, have, err
}

// Without is a document without what the rules ignore in it.
func Without(rules []Rule, doc map[string]any) (map[string]any, error) {
	version, _ := doc["apiVersion"].(string)
	group, _, _ := strings.Cut(version, "/")
	out, err := plain(doc)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if r.Group != group || r.Kind != doc["kind"] {
			continue
		}
		for _, e := range r.Expressions {
			if out, err = del(e, out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func del(expression string, doc map[string]any) (map[string]any, error) {
	query, err := gojq.Parse("del(" + expression + ")")
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", expression, err)
	}
	value, found := query.Run(doc).Next()
	if err, failed := value.(error); failed {
		return nil, fmt.Errorf("run %s: %w", expression, err)
	}
	out, is := value.(map[string]any)
	if !found || !is {
		return nil, errors.New(expression + " leaves no document")
	}
	return out, nil
}

// plain is a copy of nothing but what JSON knows.
func plain(doc map[string]any) (out map[string]any, err error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(text, &out)
	return out, err
}

// within tells whether all of want is in have; lists have to be equally long.
func within(want, have any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, is := have.(map[string]any)
		for key, value := range w {
			if !is || !within(value, h[key]) {
				return false
			}
		}
		return true
	case []any:
		h, is := have.([]any)
		if !is || len(w) != len(h) {
			return false
		}
		for i := range w {
			if !within(w[i], h[i]) {
				return false
			}
		}
		return true
	}
	return fmt.Sprint(want) == fmt.Sprint(have)
}

// LeftAlone tells whether Flux applies a manifest no more once its object is there.
func LeftAlone(git map[string]any) bool {
	metadata, _ := git["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return annotations["kustomize.toolkit.fluxcd.io/ssa"] == "IfNotPresent"
}
