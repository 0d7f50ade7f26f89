package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"serin.dev/serin/pkg/config"
)

const self = "system:serviceaccount:serin-system:serin"

// cluster knows this controller by a name.
func cluster(name string) *fake.Clientset {
	c := fake.NewClientset()
	c.PrependReactor("create", "selfsubjectreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: name}}}, nil
	})
	return c
}

// files are the paths of a certificate that is not written yet.
func files(t *testing.T) config.Webhook {
	dir := t.TempDir()
	return config.Webhook{Listen: "127.0.0.1:0", Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
}

// write writes a new certificate of the name. Its time is told by the number, so
// that no clock decides whether it is another one.
func write(t *testing.T, f config.Webhook, name string, number int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{f.Certificate: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(number, 0), time.Unix(number, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

func shownName(t *testing.T, c *certificate) string {
	t.Helper()
	got, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(got.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Subject.CommonName
}

func TestTheCertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	f := files(t)
	c := &certificate{files: f, setting: "inPlace.webhook", log: zap.NewNop()}
	if _, err := c.get(nil); err == nil || !strings.Contains(err.Error(), "tls.crt") || !strings.Contains(err.Error(), "inPlace.webhook") {
		t.Errorf("without files: %v", err)
	}
	write(t, f, "first", 1)
	if got := shownName(t, c); got != "first" {
		t.Errorf("shown is %s", got)
	}
	write(t, f, "second", 2)
	if got := shownName(t, c); got != "second" {
		t.Errorf("after another was written, shown is %s", got)
	}
	other := files(t)
	write(t, other, "other", 3)
	key, err := os.ReadFile(other.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shownName(t, c); got != "second" {
		t.Errorf("with the key of another, shown is %s", got)
	}
	if err := os.Remove(f.Certificate); err != nil {
		t.Fatal(err)
	}
	if got := shownName(t, c); got != "second" {
		t.Errorf("without the file, shown is %s", got)
	}
}

// The API server asks over TLS about a change, and the controller's own writes pass.
func TestTheWebhookAnswersOverTLS(t *testing.T) {
	f := files(t)
	write(t, f, "serin-webhook", 1)
	var out bytes.Buffer
	done := errors.New("done")
	stop, stopped := make(chan struct{}), make(chan error, 1)
	work, err := guarding(t.Context(), config.InPlace{Enabled: true, Guard: config.GuardWebhook, Webhook: f}, cluster(self), newLogger(&out, zapcore.InfoLevel), func(context.Context) error {
		<-stop
		return done
	})
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`"listen":"([^"]+)"`).FindStringSubmatch(out.String())
	if at == nil || !strings.Contains(out.String(), self) {
		t.Fatalf("logged %s", out.String())
	}
	go func() { stopped <- work(context.Background()) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // the certificate signs itself
	for by, held := range map[string]bool{"jane": true, self: false} {
		review := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"UPDATE","resource":{"group":"apps","resource":"deployments"},"userInfo":{"username":"` + by + `"},` +
			`"object":{"metadata":{"annotations":{"serin.dev/canary":"true"}},"spec":{"template":{"a":1}}},"oldObject":{"spec":{"template":{"a":2}}}}}`
		answer, err := client.Post("https://"+at[1]+"/guard?timeout=2s", "application/json", strings.NewReader(review))
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := strings.Contains(body.String(), "JSONPatch"); answer.StatusCode != http.StatusOK || got != held {
			t.Errorf("%s: answered %d %s, want held %v", by, answer.StatusCode, body.String(), held)
		}
	}
	close(stop)
	if err := <-stopped; !errors.Is(err, done) {
		t.Errorf("it ends with %v", err)
	}
}

func TestThereIsNoWebhookUnlessItIsTheGuard(t *testing.T) {
	nobody := fake.NewClientset()
	for name, f := range map[string]config.InPlace{
		"off":           {Guard: config.GuardWebhook},
		"by the policy": {Enabled: true, Guard: config.GuardPolicy},
		"by pausing":    {Enabled: true, Guard: config.GuardPause},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := guarding(t.Context(), f, nobody, zap.NewNop(), nil); err != nil || len(nobody.Actions()) > 0 {
				t.Errorf("it asked %v: %v", nobody.Actions(), err)
			}
		})
	}
}

func TestWithoutANameThereIsNoWebhook(t *testing.T) {
	_, err := guarding(t.Context(), config.InPlace{Enabled: true, Guard: config.GuardWebhook, Webhook: files(t)}, cluster(""), zap.NewNop(), nil)
	if err == nil || !strings.Contains(err.Error(), "the own name") {
		t.Errorf("got %v", err)
	}
}
