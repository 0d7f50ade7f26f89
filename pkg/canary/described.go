package canary

import (
	"cmp"
	"slices"
)

// images is the question what registries know of the canary's images.
func (m moment) images() Question { return m.question(AskImages, "", Always, 0) }

// wantsImages tells that registries are asked, which they are once all digests are
// known. Nothing waits for what they say.
func (m moment) wantsImages() bool {
	all := m.o.Tracks.Canary.Images
	return m.state.Phase.Active() && !m.state.Phase.Drains() && m.o.Askable[AskImages] && len(all) > 0 &&
		!slices.ContainsFunc(all, func(i Image) bool { return i.Digest == "" })
}

// described is the moment with what registries know of the canary's images, by digest.
// What the pod template says itself stands above it: an image inherits labels of the
// one that it was built from.
func (m moment) described() moment {
	known := m.o.Answers[m.images()].Images
	if len(known) == 0 {
		return m
	}
	all := slices.Clone(m.o.Tracks.Canary.Images) // the observation is others' too
	for i := range all {
		at := slices.IndexFunc(known, func(k Image) bool {
			return k.Container == all[i].Container && k.Digest == all[i].Digest && k.Digest != ""
		})
		if at < 0 {
			continue
		}
		k, image := known[at], &all[i]
		image.Version, image.Revision = cmp.Or(image.Version, k.Version), cmp.Or(image.Revision, k.Revision)
		image.Source, image.Created = cmp.Or(image.Source, k.Source), cmp.Or(image.Created, k.Created)
	}
	m.o.Tracks.Canary.Images = all
	return m
}
