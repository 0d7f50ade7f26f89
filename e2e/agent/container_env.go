package agent

import (
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// listenPorts are the ports the container listens on: its TCP ports, 8080 if
// it names none.
func listenPorts(spec *corev1.Container) []int {
	var ports []int
	for _, p := range spec.Ports {
		if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
			ports = append(ports, int(p.ContainerPort))
		}
	}
	if len(ports) == 0 {
		return []int{8080}
	}
	return ports
}

// containerEnv is the environment of the container's process. What the agent
// cannot provide is an error.
func containerEnv(pod *corev1.Pod, spec *corev1.Container, ip string) ([]string, error) {
	if len(spec.EnvFrom) > 0 {
		return nil, fmt.Errorf("container %s: envFrom is not supported: name the variables under env", spec.Name)
	}
	// What the container itself says comes later, and counts.
	environment := append(imageEnv(spec.Image), "HOSTNAME="+pod.Name, "POD_IP="+ip)
	for _, e := range spec.Env {
		value, err := envValue(pod, e, ip)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", spec.Name, err)
		}
		environment = append(environment, e.Name+"="+value)
	}
	var listen []string
	for _, port := range listenPorts(spec) {
		if injected(pod) {
			port += behindSidecar
		}
		listen = append(listen, net.JoinHostPort(ip, strconv.Itoa(port)))
	}
	return append(environment, "LISTEN="+strings.Join(listen, ",")), nil
}

func envValue(pod *corev1.Pod, e corev1.EnvVar, ip string) (string, error) {
	if e.ValueFrom == nil {
		return e.Value, nil
	}
	if e.ValueFrom.FieldRef == nil {
		return "", fmt.Errorf("env %s: only values and field references are supported", e.Name)
	}
	path := e.ValueFrom.FieldRef.FieldPath
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "status.podIP":
		return ip, nil
	}
	if key, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return pod.Labels[strings.TrimSuffix(key, "']")], nil
	}
	return "", fmt.Errorf("env %s: the field %s is not supported", e.Name, path)
}

// imageID names what the container runs by a digest, as a container runtime
// does. All containers run the same program, so it is taken over that program
// and all that makes it behave as it does: the same for all pods of a version,
// another one for another version. An image that is named by its digest has that one.
func imageID(program string, spec *corev1.Container) string {
	if _, digest, named := strings.Cut(spec.Image, "@"); named {
		return repository(spec.Image) + "@" + digest
	}
	var env []string
	for _, e := range spec.Env {
		if e.ValueFrom == nil {
			env = append(env, e.Name+"="+e.Value)
		}
	}
	slices.Sort(env)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", program, spec.Image, spec.Command, spec.Args, env))
	return fmt.Sprintf("%s@sha256:%x", repository(spec.Image), sum)
}

// repository is an image's name without tag and digest.
func repository(image string) string {
	name, _ := splitImage(image)
	return name
}

// imageEnv is what an image says by its tag: the version and, after it, any of
// the application's variables in small letters, as in v3_error-rate-0.05. So a
// change of the image is all it takes to release a version that is bad.
func imageEnv(image string) []string {
	_, tag := splitImage(image)
	version, rest, _ := strings.Cut(tag, "_")
	environment := []string{"VERSION=" + version}
	for variable := range strings.SplitSeq(rest, "_") {
		if i := strings.LastIndex(variable, "-"); i > 0 {
			name := strings.ToUpper(strings.ReplaceAll(variable[:i], "-", "_"))
			environment = append(environment, name+"="+variable[i+1:])
		}
	}
	return environment
}

func splitImage(image string) (repository, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i], image[i+1:]
	}
	return image, ""
}
