package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Screen is what a page is looked at on.
type Screen struct {
	Name          string
	Width, Height int64 // CSS pixels
	Dark, Calm    bool  // what the reader prefers: dark colours, no motion
}

// The screens that people have.
var (
	Desktop = Screen{Name: "desktop", Width: 1200, Height: 800, Calm: true}
	Night   = Screen{Name: "dark", Width: 1200, Height: 800, Dark: true, Calm: true}
	Phone   = Screen{Name: "phone", Width: 360, Height: 740, Calm: true}
)

// Use makes the tab such a screen.
func (s Screen) Use(tab context.Context) error {
	scheme, motion := "light", "no-preference"
	if s.Dark {
		scheme = "dark"
	}
	if s.Calm {
		motion = "reduce"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion}}}
	if _, err := chromedp.Call(tab, emulation.SetEmulatedMedia, media); err != nil {
		return fmt.Errorf("use a %s screen: %w", s.Name, err)
	}
	if err := chromedp.Do(tab, chromedp.EmulateViewport(s.Width, s.Height)); err != nil {
		return fmt.Errorf("use a %s screen: %w", s.Name, err)
	}
	return nil
}

// Picture writes the whole page as PNG.
func Picture(tab context.Context, path string) error {
	const asPNG = 100
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(asPNG))
	if err != nil {
		return fmt.Errorf("take a picture: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("take a picture: %w", err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		return fmt.Errorf("take a picture: %w", err)
	}
	return nil
}
