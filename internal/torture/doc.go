// Package torture plays releases in virtual time, with the unmodified controller
// over an API server in memory and a simulated mesh with its Prometheus, and
// disturbs them at every write: crashes, lost answers, outages, watches that stand
// still or repeat themselves, other hands on the same objects, two leaders, clocks
// that jump, metrics that are wrong. Who looks at every version of every object
// checks what has to hold whatever happens. It shares no code with the controller.
package torture
