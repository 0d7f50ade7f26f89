package topology

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"serin.dev/serin/pkg/canary"
)

// Container is a container of a pod template, init containers too.
type Container struct{ Name, Image string }

// What a pod template may say of its images. The labels of the image itself are
// known to its registry only.
const (
	versionLabel = "app.kubernetes.io/version"
	ociPrefix    = "org.opencontainers.image."
)

// maxText bounds what is shown of a value that somebody wrote, in bytes.
const maxText = 200

// Images are the images of a pod template, as it names them. What its annotations
// and labels say of the version is said of the first container, which is the
// application's by convention.
func Images(containers []Container, annotations, labels map[string]string) []canary.Image {
	var out []canary.Image
	for _, c := range containers {
		out = append(out, canary.Image{Container: c.Name, Reference: c.Image})
	}
	if len(out) == 0 {
		return nil
	}
	say := func(key string) string { return cut(annotations[ociPrefix+key]) }
	first := &out[0]
	first.Version, first.Revision, first.Source, first.Created = say("version"), say("revision"), say("source"), say("created")
	if first.Version == "" {
		first.Version = cut(labels[versionLabel])
	}
	return out
}

// cut bounds a text, never within a rune.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// TemplateImages are the images of a pod template that is a JSON tree.
func TemplateImages(template map[string]any) []canary.Image {
	spec, _ := template["spec"].(map[string]any)
	var containers []Container
	for _, list := range []string{"containers", "initContainers"} {
		all, _ := spec[list].([]any)
		for _, one := range all {
			c, _ := one.(map[string]any)
			name, _ := c["name"].(string)
			image, _ := c["image"].(string)
			containers = append(containers, Container{name, image})
		}
	}
	metadata, _ := template["metadata"].(map[string]any)
	return Images(containers, wordsOf(metadata["annotations"]), wordsOf(metadata["labels"]))
}

func wordsOf(tree any) map[string]string {
	out := map[string]string{}
	all, _ := tree.(map[string]any)
	for key, value := range all {
		if text, is := value.(string); is {
			out[key] = text
		}
	}
	return out
}

// Digest is the digest in a container's imageID: sha256:..., whatever runtime wrote
// it; empty where there is none.
func Digest(imageID string) string {
	const algorithm = "sha256:"
	at := strings.LastIndex(imageID, algorithm)
	if at < 0 || len(imageID)-at != len(algorithm)+64 {
		return ""
	}
	return imageID[at:]
}

// Addresses are where the Ready pods of a Deployment take the Service's HTTP
// requests, as host:port, and the names of these pods, in the same order. Pods
// without an IP address are left out; where the Service has no HTTP port, or none
// that the Deployment's pods have, there are none.
func Addresses(o Objects, d Deployment, pods []Pod) (addresses, names []string) {
	if o.ServiceFound == nil {
		return nil, nil
	}
	port := o.ServiceFound.Target
	if _, err := strconv.Atoi(port); err != nil {
		number, named := d.PortNames[port]
		if !named {
			return nil, nil
		}
		port = strconv.Itoa(number)
	}
	for _, p := range slices.SortedFunc(slices.Values(pods), func(a, b Pod) int { return strings.Compare(a.Name, b.Name) }) {
		if p.Ready && p.IP != "" {
			addresses, names = append(addresses, hostPort(p.IP, port)), append(names, p.Name)
		}
	}
	return addresses, names
}

// hostPort is an address with its port; one of IPv6 is in brackets.
func hostPort(address, port string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]:" + port
	}
	return address + ":" + port
}
