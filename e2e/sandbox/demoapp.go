package sandbox

import _ "embed"

// DemoApp is an application in two versions behind one Service, with routes of
// the gateway (shop.example.com) and of the mesh: an example to start from.
//
//go:embed demo-app.yaml
var DemoApp string
