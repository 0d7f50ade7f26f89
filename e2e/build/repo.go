package build

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// rootModule is the first line of the go.mod that marks the repository's root.
const rootModule = "module serin.dev/serin\n"

// Root returns the root folder of the repository: the nearest folder above the
// working directory that holds the root module, else the one this package was
// compiled from.
func Root() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	if root := rootAbove(wd); root != "" {
		return root, nil
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		if root := rootAbove(filepath.Dir(file)); root != "" {
			return root, nil
		}
	}
	return "", fmt.Errorf("find the repository: no go.mod of serin.dev/serin in %s or above it; run from inside the repository", wd)
}

func rootAbove(dir string) string {
	for {
		if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(b), rootModule) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// Cache returns the folder everything built is kept in, made if missing:
// SERIN_CACHE, else .cache/serin in the repository.
func Cache() (string, error) {
	dir := os.Getenv("SERIN_CACHE")
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache", "serin")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder (SERIN_CACHE names another one): %w", err)
	}
	return dir, nil
}
