// Command pack packs the Helm chart, as helm package does:
//
//	go run ./pack CHART FOLDER VERSION APPVERSION
package main

import (
	"fmt"
	"os"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: pack CHART FOLDER VERSION APPVERSION")
		os.Exit(2)
	}
	path, err := pack(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

func pack(chart, folder, version, appVersion string) (string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return "", fmt.Errorf("read the chart: %w", err)
	}
	c.Metadata.Version, c.Metadata.AppVersion = version, appVersion
	if err := c.Validate(); err != nil {
		return "", fmt.Errorf("version %s: %w", version, err)
	}
	return util.Save(c, folder)
}
