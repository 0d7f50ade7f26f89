package apiserver

import (
	"encoding/json"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4" // it is what the real server uses
)

// patched is an object after a JSON patch (RFC 6902).
func patched(o *object, patch []byte) (map[string]any, error) {
	steps, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("decode the patch: %w", err)
	}
	text, err := steps.Apply(o.text)
	if err != nil {
		return nil, fmt.Errorf("apply the patch: %w", err)
	}
	return parsed(text)
}

// merged is an object after a JSON merge patch (RFC 7396).
func merged(o *object, patch []byte) (map[string]any, error) {
	text, err := jsonpatch.MergePatch(o.text, patch)
	if err != nil {
		return nil, fmt.Errorf("merge the patch: %w", err)
	}
	return parsed(text)
}

func parsed(text []byte) (out map[string]any, _ error) {
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("decode what the patch made: %w", err)
	}
	return out, nil
}
