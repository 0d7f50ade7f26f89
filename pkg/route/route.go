// Package route edits a VirtualService, held as a JSON tree: it finds the
// routes that lead to a Service, pins them where a release needs it, splits
// their traffic, places QA's header route, and takes all of it off again. It is
// pure: a document goes in, a new one comes out, and whatever is not ours stays
// as it is.
package route
