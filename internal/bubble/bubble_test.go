package bubble_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
)

// Without the one processor this dies within a second under the race detector.
func TestTimersThatExpireAtOnceDoNotBreakTheRaceDetector(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(*testing.T) {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 500 {
						timer := time.NewTimer(0)
						select {
						case <-timer.C:
						default:
						}
						timer.Reset(0)
						<-timer.C
					}
				})
			}
			all.Wait()
		})
	}
}

func TestEveryPackageWithABubbleImportsThisOne(t *testing.T) {
	const synctest, bubble = "testing/synctest", "serin.dev/serin/internal/bubble"
	imports := map[string][]string{} // by folder
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".cache" || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if name == synctest || name == bubble {
				folder := filepath.Dir(path)
				imports[folder] = append(imports[folder], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) < 10 {
		t.Fatalf("only %d packages were found: is the project's root two folders up?", len(imports))
	}
	for _, folder := range slices.Sorted(maps.Keys(imports)) {
		if slices.Contains(imports[folder], synctest) && !slices.Contains(imports[folder], bubble) {
			t.Errorf("%s uses synctest without importing %s", folder, bubble)
		}
	}
}
