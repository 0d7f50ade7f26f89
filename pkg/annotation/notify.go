package annotation

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxChannels = 8
	notifyMend  = `write names of channels, comma-separated, like "team-shop, ops", or "none"`
)

// parseNotify reads names of channels. That one isn't known is told with all that
// are: a team can't see the configuration.
func parseNotify(value string, d *draft) []fault {
	if value == none {
		d.spec.Notify = nil
		return nil
	}
	names := list(value)
	if len(names) > maxChannels {
		return one(fmt.Sprintf("has %d channels, at most %d are allowed", len(names), maxChannels), notifyMend)
	}
	var faults []fault
	for i, name := range names {
		switch {
		case !isLabel(name):
			faults = append(faults, fault{fmt.Sprintf("has %q, which is no name of a channel", shorten(name)), notifyMend})
		case name == none:
			faults = append(faults, fault{`has "none" beside others`, "write it alone, or take it away"})
		case slices.Contains(names[:i], name):
			faults = append(faults, fault{fmt.Sprintf("has %q twice", name), "write each name once"})
		case d.channels != nil && !slices.Contains(d.channels, name):
			faults = append(faults, unknownChannel(name, d.channels))
		}
	}
	if faults == nil {
		d.spec.Notify = names
	}
	return faults
}

func unknownChannel(name string, known []string) fault {
	f := fault{fmt.Sprintf("names the channel %q, which is not defined", name), "there is none: define it under notify.channels in the configuration of Serin first, or take the key away"}
	if len(known) > 0 {
		f.mend = "known are " + strings.Join(known, ", ") + "; others have to be defined in the configuration of Serin first"
	}
	return f
}
