package controller

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

func objectKey(kind, name string) canary.ObjectKey {
	return canary.ObjectKey{Kind: kind, Namespace: "shop", Name: name}
}

// ofOurs is an object of a kind as Serin makes it for Service web.
func ofOurs(t *testing.T, kind, name string, spec map[string]any) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"kind": kind, "apiVersion": apiserver.APIVersions[kind],
		"metadata": map[string]any{"namespace": "shop", "name": name, "labels": map[string]any{
			"app.kubernetes.io/managed-by": "serin", "serin.dev/service": "web"}},
		"spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (w *world) version(kind, name string) string {
	o := w.api.Read(kind, "shop", name)
	if o == nil {
		return ""
	}
	return apiserver.Meta(o)["resourceVersion"].(string)
}

func TestEveryKindIsMadeChangedAndRemoved(t *testing.T) {
	for _, kind := range []string{"VirtualService", "DestinationRule", "Deployment"} {
		t.Run(kind, func(t *testing.T) {
			w := emptyWorld(t)
			c := w.controller(w.api, nil)
			key := objectKey(kind, "web-serin")
			do := func(verb mode.Verb, body []byte) {
				t.Helper()
				if err := c.write(t.Context(), mode.Write{Verb: verb, Key: key, ResourceVersion: w.version(kind, key.Name), Body: body}); err != nil {
					t.Fatal(err)
				}
			}
			do(mode.Create, ofOurs(t, kind, key.Name, map[string]any{"paused": true, "host": "web"}))
			do(mode.Patch, []byte(`[{"op":"test","path":"/metadata/resourceVersion","value":"`+w.version(kind, key.Name)+`"},
				{"op":"replace","path":"/spec/paused","value":false},{"op":"remove","path":"/metadata/labels/app.kubernetes.io~1managed-by"}]`))
			got := w.api.Read(kind, "shop", key.Name)
			if paused := got["spec"].(map[string]any)["paused"]; paused != false || apiserver.StringMap(apiserver.Meta(got)["labels"])["app.kubernetes.io/managed-by"] != "" {
				t.Errorf("after the patch it is %v", got)
			}
			apiserver.Meta(got)["labels"] = map[string]any{"seen": "yes"}
			body, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			do(mode.Update, body)
			if got := w.api.Read(kind, "shop", key.Name); apiserver.StringMap(apiserver.Meta(got)["labels"])["seen"] != "yes" {
				t.Errorf("after the update it is %v", got)
			}
			do(mode.Delete, nil)
			if got := w.api.Read(kind, "shop", key.Name); got != nil {
				t.Errorf("after the removal it is %v", got)
			}
		})
	}
}

func TestWritesToWhatHasChangedAreBehindAndNoFault(t *testing.T) {
	const stale = "1"
	patch := []byte(`[{"op":"test","path":"/metadata/resourceVersion","value":"1"},{"op":"add","path":"/spec/paused","value":true}]`)
	for name, c := range map[string]struct {
		write mode.Write
		want  bool
	}{
		"an update of an older version":   {mode.Write{Verb: mode.Update, Key: objectKey("DestinationRule", "here"), Body: []byte(`{"metadata":{"name":"here","resourceVersion":"1"}}`)}, true},
		"a patch of an older version":     {mode.Write{Verb: mode.Patch, Key: objectKey("Deployment", "here"), Body: patch}, true},
		"the removal of an older version": {mode.Write{Verb: mode.Delete, Key: objectKey("Deployment", "here"), ResourceVersion: stale}, true},
		"making what exists":              {mode.Write{Verb: mode.Create, Key: objectKey("VirtualService", "here"), Body: []byte(`{"metadata":{"name":"here"}}`)}, true},
		"an update of what is gone":       {mode.Write{Verb: mode.Update, Key: objectKey("VirtualService", "gone"), Body: []byte(`{}`)}, true},
		"the removal of what is gone":     {mode.Write{Verb: mode.Delete, Key: objectKey("DestinationRule", "gone"), ResourceVersion: stale}, true},
		"a kind that is never written":    {mode.Write{Verb: mode.Update, Key: objectKey("Secret", "here")}, false},
		"a verb that nobody knows":        {mode.Write{Verb: "apply", Key: objectKey("Deployment", "here")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := emptyWorld(t)
			for _, kind := range []string{"VirtualService", "DestinationRule", "Deployment"} {
				w.api.Put(map[string]any{"kind": kind, "apiVersion": apiserver.APIVersions[kind], "metadata": map[string]any{"namespace": "shop", "name": "here"}, "spec": map[string]any{}})
			}
			err := w.controller(w.api, nil).write(t.Context(), c.write)
			if err == nil {
				t.Fatal("it was written")
			}
			if err = describe(c.write, err); errors.Is(err, errBehind) != c.want || !strings.Contains(err.Error(), c.write.Key.String()) {
				t.Errorf("got %v, behind %v, want %v", err, errors.Is(err, errBehind), c.want)
			}
			if len(w.api.Writes()) > 0 {
				t.Errorf("it wrote %v", w.api.Writes())
			}
		})
	}
}

// An object that the server refuses is a fault to be told, though it answers a
// patch that does not fit with the same number.
func TestAPatchToAnObjectThatIsNotValidIsAFault(t *testing.T) {
	w := emptyWorld(t)
	invalid := apierrors.NewInvalid(appsv1.SchemeGroupVersion.WithKind("Deployment").GroupKind(), "web", nil).Status()
	invalid.Kind, invalid.APIVersion = "Status", "v1"
	way := answering(func(*http.Request) (*http.Response, error) { return apiserver.Answer(422, invalid) })
	write := mode.Write{Verb: mode.Patch, Key: objectKey("Deployment", "web"), Body: []byte(`[]`)}
	err := describe(write, w.controller(way, nil).write(t.Context(), write))
	if !apierrors.IsInvalid(err) || errors.Is(err, errBehind) {
		t.Errorf("got %v", err)
	}
}

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOwnWritesAreKnownBeforeTheInformerHasThem(t *testing.T) {
	web, other := cluster.Key{Namespace: "shop", Name: "web"}, cluster.Key{Namespace: "shop", Name: "api"}
	key := objectKey("VirtualService", "web-serin")
	read := func(version string) []topology.VirtualService {
		return []topology.VirtualService{{Key: objectKey("VirtualService", "web"), ResourceVersion: "2"}, {Key: key, ResourceVersion: version}}
	}
	made := func(t *testing.T) *ownWrites {
		own := newOwnWrites()
		body := strings.Replace(string(ofOurs(t, "VirtualService", key.Name, nil)), `"metadata":{`, `"metadata":{"resourceVersion":"7",`, 1)
		if err := own.remember(key, []byte(body)); err != nil {
			t.Fatal(err)
		}
		return own
	}
	versions := func(all []topology.VirtualService) string {
		var out []string
		for _, v := range all {
			out = append(out, v.Key.Name+":"+v.ResourceVersion)
		}
		return strings.Join(out, " ")
	}
	for name, c := range map[string]struct {
		do   func(*ownWrites) []topology.VirtualService
		want string
	}{
		"one that was made is there":     {func(o *ownWrites) []topology.VirtualService { return o.overlay(web, read("")[:1]) }, "web:2 web-serin:7"},
		"and not behind another Service": {func(o *ownWrites) []topology.VirtualService { return o.overlay(other, nil) }, ""},
		"until the informer has it": {func(o *ownWrites) []topology.VirtualService {
			o.overlay(web, read("7"))
			return o.overlay(web, read("")[:1])
		}, "web:2"},
		"and no longer than an informer may be behind": {func(o *ownWrites) []topology.VirtualService {
			pass(unseenFor)
			return o.overlay(web, read("")[:1])
		}, "web:2"},
		"an older copy of the informer's is not believed": {func(o *ownWrites) []topology.VirtualService { return o.overlay(web, read("6")) }, "web:2 web-serin:7"},
		"one that was removed does not come back": {func(o *ownWrites) []topology.VirtualService {
			o.removed(key, "7")
			o.overlay(web, read("7"))
			return o.overlay(web, read("7"))
		}, "web:2"},
		"unless somebody changed it before, which the removal then missed": {func(o *ownWrites) []topology.VirtualService {
			o.removed(key, "7")
			return o.overlay(web, read("8"))
		}, "web:2 web-serin:8"},
		"nor when the informer lost it too": {func(o *ownWrites) []topology.VirtualService {
			o.removed(key, "7")
			return o.overlay(web, read("")[:1])
		}, "web:2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := versions(c.do(made(t))); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
	t.Run("a removal is forgotten in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			own := newOwnWrites()
			own.removed(key, "7")
			pass(unseenFor + time.Second)
			own.overlay(other, nil)
			if len(own.objects) != 0 {
				t.Errorf("kept: %v", own.objects)
			}
		})
	})
}

func TestARaiseInPlaceAsksForTheSubsetsToo(t *testing.T) {
	for _, inPlace := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.inPlace = inPlace
			asked := 0
			w.api.Fault = func(r *http.Request) error {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/destinationrules/web") {
					asked++
				}
				return nil
			}
			_, stop := w.run()
			defer stop()
			w.deploy("web-v2", "v2", "two", opted)
			w.until(5*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
			if (asked > 0) != inPlace {
				t.Errorf("with in place %v the rule was asked for %d times", inPlace, asked)
			}
		})
	}
}

// The API server takes its time over a thousand routes; a small object that takes
// as long is given up on, and tried again.
func TestALargeVirtualServiceIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		routes int
		moves  bool
	}{
		"a thousand routes": {1000, true},
		"one route":         {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.api.Edit("VirtualService", "shop", "web", func(o map[string]any) {
					spec, _ := o["spec"].(map[string]any)
					all, _ := spec["http"].([]any)
					for range c.routes {
						all = append([]any{map[string]any{"timeout": "10s", "match": []any{map[string]any{"uri": map[string]any{"prefix": "/" + strings.Repeat("long", 40)}}},
							"route": []any{map[string]any{"destination": map[string]any{"host": "other"}}}}}, all...)
					}
					spec["http"] = all
				})
				w.api.Fault = func(r *http.Request) error {
					if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/virtualservices/") {
						return nil
					}
					select {
					case <-r.Context().Done():
						return r.Context().Err()
					case <-time.After(8 * time.Second):
						return nil
					}
				}
				_, stop := w.run()
				defer stop()
				w.deploy("web-v2", "v2", "two", opted)
				pass(2 * time.Minute)
				if got := w.weight("web"); (got > 0) != c.moves {
					t.Errorf("after two minutes the canary has %d%%, want any: %v", got, c.moves)
				}
			})
		})
	}
}
