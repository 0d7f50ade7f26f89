package canary

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// This file holds what is asked of a release's images: that they have names by which
// somebody can tell later what ran.

// semVer is a version after Semantic Versioning 2.0.0 (Tom Preston-Werner, 2013). An
// image's tag has no "+": what comes after it is written with "_" or "-", if at all.
var semVer = regexp.MustCompile(`^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(_[0-9A-Za-z.-]+)?$`)

// splitReference takes an image's reference apart: what follows the last "/" may hold
// a tag, what follows "@" is a digest. Both are empty where the reference has none.
func splitReference(reference string) (tag, digest string) {
	name, digest, _ := strings.Cut(reference, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		tag = name[i+1:]
	}
	return tag, digest
}

// CheckTag says what is wrong with an image's reference; empty: nothing. tags is as in
// Spec.Tags.
func CheckTag(tags, reference string) string {
	tag, digest := splitReference(reference)
	expression, isPattern := strings.CutPrefix(tags, TagsRegex)
	switch {
	case tags == "":
		return ""
	case digest != "" && (tag == "" || tags == TagsNamed):
		return "" // named by what it is
	case tag == "":
		return "has no tag, so that nobody can tell what it is tomorrow"
	case tags == TagsNamed && tag != "latest", tags == TagsSemVer && semVer.MatchString(tag):
		return ""
	case tags == TagsNamed:
		return "has the tag latest, so that nobody can tell what it is tomorrow"
	case tags == TagsSemVer:
		return "has the tag " + tag + ", which is no semantic version like 1.4.2"
	}
	if re, err := regexp.Compile(`\A(?:` + expression + `)\z`); isPattern && err == nil && re.MatchString(tag) {
		return ""
	}
	return "has the tag " + tag + ", which " + expression + " does not match"
}

// blockUnnamedImage keeps a release from starting whose images nobody could name.
func blockUnnamedImage(m moment) (Plan, bool) {
	for _, i := range m.o.Tracks.Canary.Images {
		if wrong := CheckTag(m.spec.Tags, i.Reference); wrong != "" {
			return m.leave(Blocked, ImageUnnamed, "The image %s of container %s %s. Name it by a tag that stays, or by digest; serin.dev/tags says which tags may be",
				i.Reference, i.Container, wrong).told(true), true
		}
	}
	return Plan{}, false
}

// explainSame says that the canary is what already runs: the same template, but for
// the labels by which the two are told apart, and the same images by digest. A restart
// or another setting is another template, and so a release.
func explainSameVersion(m moment) (Plan, bool) {
	c, s := m.o.Tracks.Canary, m.o.Tracks.Stable
	if m.o.InPlace || m.retries() || c.Content == "" || c.Content != s.Content || !sameDigests(c.Images, s.Images) {
		return Plan{}, false
	}
	return m.leave(restPhase(m.state), SameVersion,
		"%s runs the same images by digest, and the same template, as %s: there is nothing to release. Another setting, or a restart, would be a release; retry#id makes one all the same", c.Deployment, s.Deployment).told(false), true
}

func sameDigests(a, b []Image) bool {
	return len(a) > 0 && slices.EqualFunc(a, b, func(x, y Image) bool {
		return x.Container == y.Container && x.Digest != "" && x.Digest == y.Digest
	})
}

// identity is a mark of what a track's pods run: 32 hex digits of a SHA-256 over the
// digests of all containers. Empty where it is not known, or they run several.
func (t Track) identity() string {
	if t.Differing != "" || len(t.Images) == 0 {
		return ""
	}
	var all strings.Builder
	for _, i := range t.Images {
		_, digest := splitReference(i.Reference) // a name that can't be moved, however nodes report it
		if digest = cmp.Or(digest, i.Digest); digest == "" {
			return ""
		}
		all.WriteString(i.Container + "=" + digest + "\n")
	}
	sum := sha256.Sum256([]byte(all.String()))
	return hex.EncodeToString(sum[:lengthOfIdentity/2])
}

// lengthOfIdentity is that of a mark, in hex digits.
const lengthOfIdentity = 32

// differing says that the pods are of several images, or of others than the release
// began with: what gates and checks said, and the verdict, would not be of one version.
// Empty: they are not.
func (m moment) differing() string {
	c := m.o.Tracks.Canary
	run, began := c.identity(), m.state.Base.Images
	other := m.state.Phase.Active() && began != "" && run != "" && run != began
	nobody := "nobody is sent to them"
	switch {
	case m.state.Phase.Active() && m.state.Weight == 100:
		nobody = "they have all users, and are not called promoted"
	case m.state.Phase.Active() && m.state.Weight > 0:
		nobody = "no more users are sent to them"
	}
	const mend = ". Name the image by digest, or by a tag that is never moved, and deploy again"
	switch {
	case c.Differing != "":
		return "The pods of " + c.Deployment + " run container " + c.Differing + " with different images (by digest) under one name: " + nobody + mend
	case other:
		return "The pods of " + c.Deployment + " run other images (by digest) than the release began with, under the same names: " + nobody + mend
	}
	return ""
}

// noteImages keeps what the pods run as soon as it is known, where they are made by the
// release: what is asked, tried and approved from then on is about these images.
func (m moment) noteImages() (Plan, bool) {
	run := m.o.Tracks.Canary.identity()
	if m.state.Base.Images != "" || run == "" {
		return Plan{}, false
	}
	p := m.move(func(s *State) { s.Base.Images = run }, false, m.state.Reason, "%s", m.state.Message)
	p.Tell = nil
	return p, true
}

// holdDiffering keeps a release from a raise whose pods are of several images, or of
// others than before, as when a tag was moved and then a pod made anew. What was known
// and is not for a moment, as while no pod is ready, is waited for.
func (m moment) holdDiffering() (Plan, bool) {
	c := m.o.Tracks.Canary
	if why := m.differing(); why != "" {
		p := m.hold(ImagesDiffer, "%s", why).told(true)
		p.View.Phase = Blocked
		return p, true
	}
	if m.state.Base.Images != "" && c.identity() == "" {
		p := m.hold(WaitingForPods, "Waiting until a ready pod of %s reports what it runs%s", c.Deployment, because(c.Problem))
		if m.now.Sub(m.state.Since) >= m.spec.StepDeadline {
			p = p.told(true)
		}
		return p, true
	}
	return Plan{}, false
}

// holdUnjudgedImages keeps users on the canary whose Deployment was updated to other
// images than were judged, as when a tag was moved since the canary's pods started.
func (m moment) holdUnjudgedImages() (Plan, bool) {
	stable, judged := m.o.Tracks.Stable, m.state.Base.Images
	run := stable.identity()
	if m.state.Plain || !m.o.OptedIn || judged == "" || run == judged {
		return Plan{}, false
	}
	if verb, new := m.verb(); new && verb == CommandPromote {
		p := m.move(func(s *State) { s.Base.Images = "" }, true, ImagesDiffer,
			"%s runs other images (by digest) than were judged, and keeps them %s", stable.Deployment, m.o.Command.given()).handling(m.o.Command)
		p.Place.Subsets.Pods = stable.Pods
		return p, true
	}
	p := m.hold(WaitingForPods, "%s is updated: waiting until a ready pod reports what it runs%s", stable.Deployment, because(stable.Problem))
	if run != "" || stable.Differing != "" {
		p = m.hold(ImagesDiffer, "%s is updated, and not all of its pods run the images (by digest) that were judged under these names: a tag was moved meanwhile. All users stay on %s. Move it back and delete the other pods, or give the command promote#id to take them as they are",
			stable.Deployment, m.state.Canary.Deployment)
		p.View.Phase = Blocked
	}
	if late := m.now.Sub(m.state.Since) >= m.spec.StepDeadline; late || p.View.Reason == ImagesDiffer {
		p = p.told(true)
	}
	p.Place.Subsets.Pods = stable.Pods
	return m.tooLate(p), true
}
