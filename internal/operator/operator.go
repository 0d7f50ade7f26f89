// Package operator reads what the operator configured, for all commands alike.
package operator

import (
	"errors"
	"fmt"
	"os"

	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/prom"
)

// ReadFile reads the configuration file that the flag --config names.
func ReadFile(name string) (config.Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return config.Config{}, fmt.Errorf("--config: %w", err)
	}
	c, err := config.Load(f)
	if err != nil {
		err = fmt.Errorf("--config %s: %w", name, err)
	}
	return c, errors.Join(err, f.Close())
}

// Template is a configured metric as it is asked for. It isn't checked.
func Template(m config.Metric) prom.Template {
	return prom.Template{Name: m.Name, Good: m.Good, Bad: m.Bad, Total: m.Total, Gauge: m.Gauge}
}
