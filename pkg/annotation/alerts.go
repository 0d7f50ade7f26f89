package annotation

import (
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
)

// parseAlerts reads which alerts count for a release. It is kept as it was written;
// the word default alone is what no word is.
func parseAlerts(value string, d *draft) []fault {
	if value == none {
		d.spec.Alerts = canary.NoAlerts
		return nil
	}
	rule, mistakes := matcher.Parse(value)
	var faults []fault
	for _, m := range mistakes {
		faults = append(faults, fault{m.Problem, m.Mend})
	}
	if faults != nil {
		return faults
	}
	d.spec.Alerts = value
	if rule.Default && len(rule.Sets) == 0 {
		d.spec.Alerts = ""
	}
	return nil
}
