package cli

import (
	"context"
	"fmt"
	"path"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/config"
)

// controllerLabels are those of the controller's Deployment, as installed.
const controllerLabels = "app.kubernetes.io/name=serin"

// configInUse reads the configuration that the controller in the namespace works
// with: its Deployment names the ConfigMap and, by flags, what wins over it.
func (c cluster) configInUse(ctx context.Context, namespace string) (config.Config, error) {
	fail := func(err error) (config.Config, error) {
		return config.Config{}, fmt.Errorf("read the controller's configuration in namespace %s: %w", namespace, err)
	}
	list, err := c.kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{LabelSelector: controllerLabels})
	if err != nil {
		return fail(err)
	}
	if len(list.Items) == 0 {
		return fail(fmt.Errorf("no Deployment there has the label %s", controllerLabels))
	}
	d := list.Items[0]
	flags := flagsOf(d)
	found := config.Default()
	if file := flags["config"]; file != "" {
		text, err := c.mounted(ctx, d, file)
		if err != nil {
			return fail(err)
		}
		if found, err = config.Load(strings.NewReader(text)); err != nil {
			return fail(err)
		}
	}
	if url := flags["prometheus-url"]; url != "" {
		found.Prometheus.URL = url
	}
	if guard := flags["in-place"]; guard != "" {
		found.InPlace.Enabled, found.InPlace.Guard = true, guard
	}
	return found, nil
}

// flagsOf are the flags of the controller's container, by name.
func flagsOf(d appsv1.Deployment) map[string]string {
	flags := map[string]string{}
	for _, container := range d.Spec.Template.Spec.Containers {
		args := append(container.Command, container.Args...) //nolint:gocritic // a new list is wanted
		for i, arg := range args {
			name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if !strings.HasPrefix(arg, "-") {
				continue
			}
			if !joined && i+1 < len(args) {
				value = args[i+1]
			}
			flags[name] = value
		}
	}
	return flags
}

// mounted is the content of a file that a ConfigMap mounts into the controller.
func (c cluster) mounted(ctx context.Context, d appsv1.Deployment, file string) (string, error) {
	pod := d.Spec.Template.Spec
	folders := map[string]string{} // by volume
	for _, container := range pod.Containers {
		for _, mount := range container.VolumeMounts {
			folders[mount.Name] = mount.MountPath
		}
	}
	for _, volume := range pod.Volumes {
		if volume.ConfigMap == nil || path.Clean(folders[volume.Name]) != path.Dir(file) {
			continue
		}
		found, err := c.kube.CoreV1().ConfigMaps(d.Namespace).Get(ctx, volume.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if text, has := found.Data[path.Base(file)]; has {
			return text, nil
		}
		return "", fmt.Errorf("ConfigMap %s has no key %s", found.Name, path.Base(file))
	}
	return "", fmt.Errorf("no ConfigMap of Deployment %s is mounted where %s is", d.Name, file)
}
