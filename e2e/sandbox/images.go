package sandbox

import "serin.dev/serin/e2e/node"

// MoveTag has an image's tag, like shop/web:v2, name from now on the image that another
// tag of the same repository names, as after a push. Pods that pull it afterwards, with
// the pull policy Always or because the node does not have it yet, report another
// digest, and behave as that tag says. What runs is not touched.
func (s *Sandbox) MoveTag(image, as string) error {
	return s.machine.call("MoveTag", node.Tag{Image: image, As: as})
}
