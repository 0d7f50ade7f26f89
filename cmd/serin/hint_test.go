package main

import (
	"testing"

	"serin.dev/serin/pkg/gate/alertmanager"
)

func TestOnlyWhoLeadsFollowsHints(t *testing.T) {
	p, err := alertmanager.New(alertmanager.Options{URLs: []string{"http://127.0.0.1:9093"}})
	if err != nil {
		t.Fatal(err)
	}
	leads := false
	hint := outer{alerts: p}.hint(func() bool { return leads })
	if hint() {
		t.Error("a replica that does not lead takes a hint")
	}
	leads = true
	if !hint() {
		t.Error("who leads takes no hint")
	}
}
