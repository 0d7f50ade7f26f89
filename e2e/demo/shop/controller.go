package shop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/sandbox"
)

// ControllerUser is the user name the API server knows the controller by: the
// service account of deploy/base.
const ControllerUser = "system:serviceaccount:serin-system:serin"

// Setup is how the controller is installed.
type Setup struct {
	Deploy string // the folder of deploy: "base", "in-place"
	Config string // YAML, fields beside those of the folder's serin.yaml
}

// StartController installs what the folder of deploy holds, the rights and the
// policies, and starts the controller with these rights and no others,
// configured as there. It returns when the controller is ready.
func StartController(ctx context.Context, s *sandbox.Sandbox, setup Setup) (*sandbox.Controller, error) {
	i, err := Install(ctx, s, setup.Deploy)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := s.KubeconfigFor(ControllerUser)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(s.LogDir(), "serin.yaml")
	if err := os.WriteFile(config, []byte(i.Config+"\n"+setup.Config), 0o644); err != nil {
		return nil, fmt.Errorf("write the controller's configuration: %w", err)
	}
	c, err := s.StartController(append(i.Flags, "--kubeconfig", kubeconfig, "--config", config)...)
	if err != nil {
		return nil, err
	}
	return c, ready(ctx, c)
}

// Install installs what the folder of deploy holds but the controller itself:
// the rights and the policies.
func Install(ctx context.Context, s *sandbox.Sandbox, folder string) (Installation, error) {
	root, err := build.Root()
	if err != nil {
		return Installation{}, err
	}
	text, _, err := s.Kubectl(ctx, "kustomize", filepath.Join(root, "deploy", folder))
	if err != nil {
		return Installation{}, fmt.Errorf("render what is installed: %w", err)
	}
	i, err := readInstallation(text)
	if err != nil {
		return Installation{}, fmt.Errorf("install %s: %w", folder, err)
	}
	for _, manifest := range i.manifests {
		if err := s.Apply(ctx, manifest); err != nil {
			return Installation{}, fmt.Errorf("install %s: %w", folder, err)
		}
	}
	return i, nil
}

// Installation is what a folder of deploy says, for a controller that is a
// process and no pod.
type Installation struct {
	Config    string   // serin.yaml
	Flags     []string // but for --config
	manifests []string // to be applied
}

// readInstallation takes the pod's part out of rendered manifests.
func readInstallation(text string) (i Installation, err error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			err := i.complete()
			return i, err
		case err != nil:
			return i, fmt.Errorf("read the manifests: %w", err)
		}
		if err := i.add(&o); err != nil {
			return i, err
		}
	}
}

func (i *Installation) add(o *unstructured.Unstructured) error {
	switch o.GetKind() {
	case "":
	case "ConfigMap":
		i.Config, _, _ = unstructured.NestedString(o.Object, "data", "serin.yaml")
	case "Deployment":
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			args, _, _ := unstructured.NestedStringSlice(c.(map[string]any), "args")
			i.Flags = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, "--config=") })
		}
	case "Service", "PodDisruptionBudget":
	default:
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		i.manifests = append(i.manifests, string(bytes.TrimSpace(text)))
	}
	return nil
}

func (i *Installation) complete() error {
	if i.Config == "" || len(i.manifests) == 0 {
		return errors.New("the manifests hold no configuration or no rights")
	}
	return nil
}

// ready waits until the controller says that it is.
func ready(ctx context.Context, c *sandbox.Controller) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.MetricsURL+"/readyz", nil)
	if err != nil {
		return err
	}
	for {
		resp, err := http.DefaultClient.Do(request)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the controller to be ready: %w; see %s", context.Cause(ctx), c.LogPath)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
