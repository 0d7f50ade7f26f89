package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/notify"
)

// newNotifier makes what tells people on the operator's channels. A secret that is not
// there yet is no reason not to lead releases.
func newNotifier(f config.Config, log *zap.Logger, meter notify.Meter) (*notify.Notifier, error) {
	o := notify.Options{Links: notify.Links(f.Links), Log: log.Named("notify"), Meter: meter}
	for _, ch := range f.Notify.Channels {
		o.Channels = append(o.Channels, notify.Channel(ch))
	}
	n, err := notify.New(o)
	if err != nil {
		return nil, fmt.Errorf("make the channels of messages: %w", err)
	}
	if err := n.Check(); err != nil {
		log.Warn("Secrets of channels can't be read yet; they are tried again with each message", zap.Error(err))
	}
	return n, nil
}

// telling is work with messages sent beside it, and for a moment after it.
func telling(n *notify.Notifier, work func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer n.Start(ctx)()
		return work(ctx)
	}
}
