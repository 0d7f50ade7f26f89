// Command kubectl-canary is a kubectl plugin for people who release: it shows
// releases, gives orders, waits for their ends in pipelines and explains them. It
// works with the user's own rights.
package main

import (
	"os"
	"time"

	"serin.dev/serin/pkg/cli"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

func main() { os.Exit(cli.Main(cli.Program{Version: version, Now: time.Now})) }
