package agent

import (
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// images is what images' names mean: at the registry, where a tag may be moved, and on
// the node, which keeps what it has pulled.
type images struct {
	mu    sync.Mutex
	moved map[string]string // what a name means at the registry since its tag was moved
	here  map[string]string // what it meant when the node pulled it last
}

// MoveTag has an image's tag name, from now on, the image that another tag of the same
// repository names, as after a push. Who pulls it then gets that one: another digest,
// and another behaviour if that tag tells of one. Containers that run are not touched.
func (a *Agent) MoveTag(image, as string) error {
	repository, tag := splitImage(image)
	if tag == "" || strings.Contains(image, "@") {
		return fmt.Errorf("move the tag of %s: only a tag can be moved: write repository:tag", image)
	}
	a.images.mu.Lock()
	defer a.images.mu.Unlock()
	if a.images.moved == nil {
		a.images.moved = map[string]string{}
	}
	a.images.moved[image] = a.images.now(repository + ":" + as)
	return nil
}

// pull is the container with the image that its name means to a node that starts it
// now. With the pull policy Always this is what the registry says, otherwise what the
// node has, if it has any.
func (i *images) pull(spec *corev1.Container) *corev1.Container {
	i.mu.Lock()
	defer i.mu.Unlock()
	meant, had := i.here[spec.Image]
	if !had || spec.ImagePullPolicy == corev1.PullAlways {
		meant = i.now(spec.Image)
	}
	if i.here == nil {
		i.here = map[string]string{}
	}
	i.here[spec.Image] = meant
	pulled := *spec
	pulled.Image = meant
	return &pulled
}

// now is what a name means at the registry.
func (i *images) now(image string) string {
	if moved, is := i.moved[image]; is {
		return moved
	}
	return image
}
