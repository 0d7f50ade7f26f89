// Command pictures takes pictures of the page on several screens, with rollouts that
// are made up, into a folder: what a change of its look is judged by.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/page/browser"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/web"
	"serin.dev/serin/pkg/web/webtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("pictures", flag.ContinueOnError)
	flags.SetOutput(stdout)
	folder := flags.String("folder", "", "`folder` that they are written to (default: pictures in the cache)")
	readme := flags.String("readme", "", "`file` for the upper part of one of them, as documents show it (default: none)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cache, err := build.Cache()
	if err != nil {
		return err
	}
	if *folder == "" {
		*folder = filepath.Join(cache, "pictures")
	}
	found, err := browser.Find(ctx, cache, stdout)
	if err != nil {
		return err
	}
	tab, done, err := found.Open(ctx)
	if err != nil {
		return err
	}
	defer done()
	server := httptest.NewServer(web.Handler(web.Options{Source: source(), Commands: all{}, Title: "staging", Version: "v1.2.3", Now: now}))
	defer server.Close()
	defer server.CloseClientConnections() // streams
	for _, screen := range []browser.Screen{browser.Desktop, browser.Night, browser.Phone} {
		if err := screen.Use(tab); err != nil {
			return err
		}
		for name, path := range map[string]string{
			"list": "/", "moving": "/rollouts/shop/checkout", "rolled-back": "/rollouts/shop/cart",
			"blocked": "/rollouts/billing/invoices", "inconclusive": "/rollouts/shop/search", "approval": "/rollouts/shop/orders",
			"mirrored": "/rollouts/shop/basket", "unverified": "/rollouts/shop/payments", "nothing": "/rollouts/shop/web",
		} {
			to := filepath.Join(*folder, name+"-"+screen.Name+".png")
			if err := chromedp.Do(tab, chromedp.Navigate(server.URL+path)); err != nil {
				return err
			}
			if err := browser.Picture(tab, to); err != nil {
				return err
			}
			fmt.Fprintln(stdout, to)
			if *readme != "" && name == "moving" && screen == browser.Desktop {
				if err := excerpt(to, *readme); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// excerpt writes the upper part of a picture, as small as PNG has it.
func excerpt(from, to string) error {
	const height = 1000
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	whole, err := png.Decode(in)
	if err != nil {
		return err
	}
	part := image.NewNRGBA(image.Rect(0, 0, whole.Bounds().Dx(), height))
	draw.Draw(part, part.Bounds(), whole, image.Point{}, draw.Src)
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	return errors.Join(encoder.Encode(out, part), out.Close())
}

// source is one rollout of each kind, as of now.
func source() webtest.Source {
	return webtest.Source{webtest.Moving(canary.MaxPoints), webtest.RolledBack(), webtest.Blocked(), webtest.Inconclusive(), webtest.Approval(), webtest.Mirrored(), webtest.Unverified(), webtest.Nothing()}
}

func now() time.Time { return webtest.Now }

// all may be done.
type all struct{}

func (all) May(context.Context, canary.View, string) bool { return true }

func (all) Do(_ context.Context, _, service, verb string) (string, error) {
	return fmt.Sprintf("%s: %s", service, verb), nil
}
