package browser

import (
	"context"
	"fmt"
	"os"

	"github.com/chromedp/chromedp"
)

// Open starts the browser and opens its first tab. Both end with close, which waits
// for it. It is not sandboxed, for it shows pages of this project alone, and a
// container lacks what that needs.
func (b Browser) Open(ctx context.Context) (tab context.Context, closeAll func(), err error) {
	profile, err := os.MkdirTemp("", "serin-page-")
	if err != nil {
		return nil, nil, fmt.Errorf("open the browser: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(b.Path), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("headless", "shell"), chromedp.Flag("no-zygote", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"))
	if b.Libraries != "" {
		options = append(options, chromedp.Env("LD_LIBRARY_PATH="+b.Libraries, "FONTCONFIG_PATH="+b.Fonts))
	}
	all, stop := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(all)
	closeAll = func() {
		closeTab()
		stop()

		_ = os.RemoveAll(profile) // of this run alone
	}
	if err := chromedp.Do(tab); err != nil {
		closeAll()
		return nil, nil, fmt.Errorf("open the browser: %w", err)
	}
	return tab, closeAll, nil
}
