package main

// object is a JSON object; its keys come out sorted, so that a change is a small diff.
type object = map[string]any

// board is a dashboard.
type board struct {
	uid, title, description string
	variables               []object
	annotations             []object
	links                   []object
	rows                    []row
}

// row is a heading with the panels below it, from left to right. They share one
// height, in Grafana's units of about 30 pixels.
type row struct {
	title  string
	height int
	panels []panel
}

// panel is one picture.
type panel struct {
	title, kind, unit, about string
	width                    int // of 24
	queries                  []query
	field                    object   // further settings of all its fields
	overrides                []object // settings of some of them
	options                  object
	transformations          []object
}

// query is what a panel asks Prometheus.
type query struct {
	expr, legend string
	instant      bool // for one time alone: the newest
	table        bool // one row for each series
}

// The kinds of panels, as Grafana calls them.
const (
	graph    = "timeseries"
	stat     = "stat"
	bar      = "bargauge"
	table    = "table"
	timeline = "state-timeline"
)

// The units, as Grafana calls them.
const (
	count     = "short"
	percent   = "percent"     // 0 to 100
	ratio     = "percentunit" // 0 to 1
	perSecond = "reqps"
	eachSec   = "ops"
	duration  = "s"
)

// Colours have one meaning on all dashboards.
const (
	stableColor = "blue"
	canaryColor = "orange"
	limitColor  = "red"
	goodColor   = "green"
	badColor    = "red"
)

// schema is that of Grafana 11.0, which later ones migrate by themselves.
const schema = 39

var source = object{"type": "prometheus", "uid": "${datasource}"}

func (b board) render() object {
	var panels []object
	id, y := 1, 0
	for _, r := range b.rows {
		panels = append(panels, object{
			"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{},
			"gridPos": object{"x": 0, "y": y, "w": 24, "h": 1},
		})
		id, y = id+1, y+1
		x := 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y = 0, y+r.height
			}
			panels = append(panels, p.render(id, object{"x": x, "y": y, "w": p.width, "h": r.height}))
			id, x = id+1, x+p.width
		}
		y += r.height
	}
	return object{
		"uid": b.uid, "title": b.title, "description": b.description, "tags": []string{"serin"},
		"schemaVersion": schema, "version": 1, "editable": true, "graphTooltip": 1, "timezone": "", "refresh": "10s",
		"time":        object{"from": "now-1h", "to": "now"},
		"templating":  object{"list": append([]object{datasourceVariable}, b.variables...)},
		"annotations": object{"list": b.annotations},
		"links":       b.links,
		"panels":      panels,
	}
}

func (p panel) render(id int, place object) object {
	var targets []object
	for i, q := range p.queries {
		format := "time_series"
		if q.table {
			format = "table"
		}
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "editorMode": "code", "format": format,
			"expr": q.expr, "legendFormat": q.legend, "instant": q.instant, "range": !q.instant,
		})
	}
	defaults := merge(object{"unit": p.unit}, p.field)
	if p.kind == graph {
		defaults = merge(object{"unit": p.unit, "min": 0, "custom": object{"lineWidth": 2, "fillOpacity": 8, "showPoints": "never", "spanNulls": false}}, p.field)
	}
	out := object{
		"id": id, "type": p.kind, "title": p.title, "description": p.about, "datasource": source, "gridPos": place,
		"targets":     targets,
		"fieldConfig": object{"defaults": defaults, "overrides": list(p.overrides)},
		"options":     merge(usual[p.kind], p.options),
	}
	if p.transformations != nil {
		out["transformations"] = p.transformations
	}
	return out
}

// usual are the options that panels of a kind have if they say nothing else.
var usual = map[string]object{
	graph:    {"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}}, "tooltip": object{"mode": "multi", "sort": "desc"}},
	stat:     {"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}, "colorMode": "value", "graphMode": "none", "textMode": "auto"},
	bar:      {"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}, "displayMode": "basic", "orientation": "horizontal", "minVizWidth": 8, "minVizHeight": 16, "valueMode": "color"},
	table:    {"showHeader": true, "cellHeight": "sm"},
	timeline: {"mergeValues": true, "showValue": "never", "rowHeight": 0.8, "legend": object{"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []string{}}, "tooltip": object{"mode": "single", "sort": "none"}},
}

// merge is a with what b has instead or in addition.
func merge(a, b object) object {
	out := object{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}

func list(all []object) []object {
	if all == nil {
		return []object{}
	}
	return all
}

var datasourceVariable = object{
	"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1,
	"options": []any{}, "regex": "", "includeAll": false, "multi": false,
}

// variable is one whose values Prometheus knows, read anew when the time range
// changes, so that what is over can still be chosen.
func variable(name, label, expr string) object {
	return object{
		"name": name, "label": label, "type": "query", "datasource": source, "hide": 0, "refresh": 2, "sort": 1, "regex": "",
		"definition": expr, "query": object{"query": expr, "refId": "variable-" + name, "qryType": 1},
		"options": []any{}, "includeAll": false, "multi": false,
	}
}

// colored gives the series of a name a colour.
func colored(name, color string, more ...object) object {
	return override(object{"id": "byName", "options": name}, append([]object{
		{"id": "color", "value": object{"mode": "fixed", "fixedColor": color}},
	}, more...)...)
}

// likeColored gives the series whose names fit a pattern a colour.
func likeColored(pattern, color string, more ...object) object {
	return override(object{"id": "byRegexp", "options": "/" + pattern + "/"}, append([]object{
		{"id": "color", "value": object{"mode": "fixed", "fixedColor": color}},
	}, more...)...)
}

func override(matcher object, properties ...object) object {
	return object{"matcher": matcher, "properties": properties}
}

// dashed is how a limit is drawn.
var dashed = []object{
	{"id": "custom.lineStyle", "value": object{"fill": "dash", "dash": []int{8, 6}}},
	{"id": "custom.fillOpacity", "value": 0},
	{"id": "custom.lineWidth", "value": 1},
}

// tracks are the colours of both tracks, and of a limit.
func tracks() []object {
	return []object{likeColored("^stable", stableColor), likeColored("^canary", canaryColor), likeColored("limit|needed", limitColor, dashed...)}
}

// steps draws a graph as what it is: values that stand until the next one.
var steps = object{"min": 0, "custom": object{"lineInterpolation": "stepAfter", "lineWidth": 2, "fillOpacity": 8, "showPoints": "never"}}

// stacked draws areas one on the other.
var stacked = object{"min": 0, "custom": object{
	"lineInterpolation": "stepAfter", "lineWidth": 1, "fillOpacity": 40, "showPoints": "never", "stacking": object{"mode": "normal", "group": "A"},
}}

// bars draws what happened within each interval.
var bars = object{"min": 0, "custom": object{
	"drawStyle": "bars", "lineWidth": 1, "fillOpacity": 80, "showPoints": "never", "stacking": object{"mode": "normal", "group": "A"},
}}

// turning gives a number its colour from a threshold on.
func turning(below, above string, at float64) object {
	return object{"mode": "absolute", "steps": []object{{"color": below, "value": nil}, {"color": above, "value": at}}}
}
