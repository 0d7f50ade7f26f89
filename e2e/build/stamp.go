package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
)

// A stamp tells what something was built from: a hash of files and words. It
// is kept beside the product; as long as both agree nothing is built again.
//
// The go command could tell too, but needs some ten seconds to look through
// the 4,000 packages of the control plane.
type stamp string

// newStamp hashes the contents of the files, in order, and the words.
func newStamp(files []string, words ...string) (stamp, error) {
	h := sha256.New()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("stamp: %w", err)
		}
		fmt.Fprintf(h, "%d\n%s", len(b), b)
	}
	for _, w := range words {
		fmt.Fprintf(h, "%d\n%s", len(w), w)
	}
	return stamp(hex.EncodeToString(h.Sum(nil))), nil
}

// fresh tells whether all products exist and the stamp in the file is this one.
func (s stamp) fresh(file string, products ...string) bool {
	b, err := os.ReadFile(file)
	if err != nil || string(b) != string(s) {
		return false
	}
	for _, p := range products {
		if _, err := os.Stat(p); err != nil {
			return false
		}
	}
	return true
}

// keep writes the stamp to the file: call it after the products are complete.
func (s stamp) keep(file string) error {
	if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
		return fmt.Errorf("keep the stamp: %w", err)
	}
	return nil
}
