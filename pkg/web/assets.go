package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strconv"
)

//go:embed assets/style.css
var styleText []byte

//go:embed assets/script.js
var scriptText []byte

// asset is a file that never changes under its address: the version is part of it.
type asset struct {
	name, kind, version string
	text                []byte
}

func load(name, kind string) asset {
	text := styleText
	if name == "script.js" {
		text = scriptText
	}
	return asset{name: name, kind: kind, version: digest(text), text: text}
}

// Address is relative to the page's root.
func (a asset) Address() string { return a.name + "?v=" + a.version }

func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind+"; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(a.text)))
	if r.URL.Query().Get("v") == a.version {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.text) // a reader that is gone needs no answer
}

// digest is short, and other for another text.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
