// Package errors is a stand-in; see ../../README.md.
package errors

// ValidationError tells what does not match a description.
type ValidationError struct{ Message string }

// Error returns the message.
func (e *ValidationError) Error() string { return e.Message }
