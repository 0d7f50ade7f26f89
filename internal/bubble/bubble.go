// Package bubble makes testing/synctest and the race detector agree. Every package
// whose tests use synctest imports it for its effect:
//
//	import _ "serin.dev/serin/internal/bubble"
//
// Under the race detector it gives the test one processor. A bubble has one race
// context for all its timers, and the runtime uses it without a lock where two
// goroutines find two expired timers at once; on two processors that breaks the
// detector's own memory, and the test dies of a segmentation fault somewhere
// (golang/go#78156, seen with Go 1.26). One processor loses little: the detector judges
// by what happens before what, not by what happens at once. Without the detector
// nothing is changed.
package bubble
