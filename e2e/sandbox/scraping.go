package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"serin.dev/serin/e2e/mesh"
)

// controllersFile names the controllers that Prometheus scrapes.
const controllersFile = "controllers.json"

// Scrape has Prometheus scrape the controller's metrics from now on, as often as
// the proxies.
func (c *Controller) Scrape() error {
	c.sandbox.mu.Lock()
	defer c.sandbox.mu.Unlock()
	if err := c.addTo(c.sandbox.file(controllersFile)); err != nil {
		return fmt.Errorf("have %s scraped: %w", c.name, err)
	}
	return nil
}

func (c *Controller) addTo(file string) error {
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	more, err := mesh.TargetsFile([]mesh.Target{{Address: strings.TrimPrefix(c.MetricsURL, "http://"), Labels: map[string]string{"pod": c.name}}})
	if err != nil {
		return err
	}
	var all, own []any
	if err := json.Unmarshal(before, &all); err != nil {
		return err
	}
	if err := json.Unmarshal(more, &own); err != nil {
		return err
	}
	text, err := json.Marshal(append(all, own...))
	if err != nil {
		return err
	}
	// Prometheus must not read half of it.
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
