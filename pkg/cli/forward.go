package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"k8s.io/streaming/pkg/httpstream"

	"serin.dev/serin/pkg/config"
)

// viewPort is where the controller shows rollouts, on its pod's own loopback.
const viewPort = 9092

// staleAfter is how much longer than it was promised a Lease may stay silent
// before nobody is believed to lead: clocks differ.
const staleAfter = 5 * time.Second

// lead is who leads, as its Lease says.
type lead struct {
	namespace, name string        // of the Lease
	holder          string        // empty: nobody
	silent          time.Duration // since it was renewed
	stale           bool
}

// String says who leads, or why nobody does.
func (l lead) String() string {
	lease := fmt.Sprintf("Lease %s/%s", l.namespace, l.name)
	switch {
	case l.holder == "":
		return "nobody leads releases: " + lease + " is held by nobody"
	case l.stale:
		return fmt.Sprintf("nobody leads releases: %s was renewed %s ago, by %s", lease, age(l.silent), l.holder)
	}
	return l.holder + " leads releases"
}

// leader reads the Lease by which the controllers agree.
func (t *tool) leader(ctx context.Context, c cluster, settings config.Config) (lead, error) {
	l := lead{namespace: settings.LeaderElection.Namespace, name: settings.LeaderElection.Name}
	if l.namespace == "" {
		l.namespace = t.serin
	}
	found, err := c.kube.CoordinationV1().Leases(l.namespace).Get(ctx, l.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		l.stale = true
		return l, nil
	case err != nil:
		return l, fmt.Errorf("read Lease %s/%s: %w", l.namespace, l.name, err)
	}
	spec := found.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil {
		l.stale = true
		return l, nil
	}
	l.holder, l.silent = *spec.HolderIdentity, t.program.Now().Sub(spec.RenewTime.Time)
	promised := settings.LeaderElection.LeaseDuration
	if spec.LeaseDurationSeconds != nil {
		promised = time.Duration(*spec.LeaseDurationSeconds) * time.Second
	}
	l.stale = l.silent > promised+staleAfter
	return l, nil
}

// pod is the pod that holds the Lease.
func (l lead) pod() string {
	pod, _, _ := strings.Cut(l.holder, "_")
	return pod
}

// forward carries a port of this machine to the leading pod's own loopback, until
// ctx ends. It takes the right to create pods/portforward there.
func (c cluster) forward(ctx context.Context, namespace, pod string) (string, error) {
	address := c.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer, err := c.dialer(address)
	if err != nil {
		return "", err
	}
	ready, failed := make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(viewPort)}, ctx.Done(), ready, io.Discard, io.Discard)
	if err != nil {
		return "", fmt.Errorf("forward a port to Pod %s/%s: %w", namespace, pod, err)
	}
	go func() { failed <- forwarder.ForwardPorts() }()
	waiting, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	select {
	case <-ready:
	case err := <-failed:
		return "", fmt.Errorf("forward a port to Pod %s/%s: %w", namespace, pod, err)
	case <-waiting.Done():
		return "", fmt.Errorf("forward a port to Pod %s/%s: no answer within %s", namespace, pod, tryTime)
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) == 0 {
		return "", errors.Join(fmt.Errorf("forward a port to Pod %s/%s: no port is known", namespace, pod), err)
	}
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), nil
}

// dialer speaks the newer protocol, and the older one to servers that know no other.
func (c cluster) dialer(address *url.URL) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.rest)
	if err != nil {
		return nil, fmt.Errorf("make a client for port-forwarding: %w", err)
	}
	older := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	newer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(address, c.rest)
	if err != nil {
		return nil, fmt.Errorf("make a client for port-forwarding: %w", err)
	}
	return portforward.NewFallbackDialerForStreaming(newer, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
