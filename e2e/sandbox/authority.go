package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"serin.dev/serin/e2e/mesh"
)

// masters is the group that may do everything.
const masters = "system:masters"

// authority signs the certificates by which the API server and its users know
// each other.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// validity is longer than any run; the start lies back, for clocks that jump.
const validity = 365 * 24 * time.Hour

func newAuthority() (*authority, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sandbox"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-validity), NotAfter: time.Now().Add(validity),
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the certificate authority: %w", err)
	}
	return &authority{cert: cert, key: key, pem: encode("CERTIFICATE", der)}, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// sign makes a key and a certificate, both PEM. A user is known by the common
// name and its groups are the organizations; a server by its hosts, which are
// names or IP addresses.
func (a *authority) sign(subject pkix.Name, use x509.ExtKeyUsage, hosts ...string) (cert, key []byte, err error) {
	private, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject, ExtKeyUsage: []x509.ExtKeyUsage{use},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", subject.CommonName, err)
	}
	key, err = encodeKey(private)
	return encode("CERTIFICATE", der), key, err
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// kubeconfig writes a kubeconfig for a user in groups.
func (a *authority) kubeconfig(path, server, user string, groups ...string) error {
	cert, key, err := a.sign(pkix.Name{CommonName: user, Organization: groups}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	const name = "sandbox"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: a.pem}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return nil
}

// files writes what the API server needs into the folder: the authority's
// certificate (ca.crt), its own (server.crt, server.key) and the key that
// signs the tokens of service accounts (sa.key, sa.pub).
func (a *authority) files(dir string) error {
	if err := a.pair(dir, "server", pkix.Name{CommonName: "kube-apiserver"}, x509.ExtKeyUsageServerAuth,
		"127.0.0.1", "10.96.0.1", "localhost", "kubernetes.default.svc"); err != nil {
		return err
	}
	tokens, err := newKey()
	if err != nil {
		return err
	}
	private, err := encodeKey(tokens)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(tokens.Public())
	if err != nil {
		return fmt.Errorf("encode a key: %w", err)
	}
	return writeKeys(dir, map[string][]byte{"ca.crt": a.pem, "sa.key": private, "sa.pub": encode("PUBLIC KEY", public)})
}

// aggregation writes what lets the API server pass requests on to the metrics
// API, and to the node agent where ports are forwarded, and both know each other:
// the server's certificate, signed by this authority (metrics.crt, metrics.key), and that of the API server as a client
// (front-proxy.crt, front-proxy.key). The latter has an authority of its own
// (front-proxy-ca.crt), for whoever shows it may speak for any user.
func (a *authority) aggregation(dir string) error {
	if err := a.pair(dir, "metrics", pkix.Name{CommonName: metricsHost}, x509.ExtKeyUsageServerAuth, metricsHost, mesh.NodeIP); err != nil {
		return err
	}
	front, err := newAuthority()
	if err != nil {
		return err
	}
	if err := front.pair(dir, "front-proxy", pkix.Name{CommonName: frontProxy}, x509.ExtKeyUsageClientAuth); err != nil {
		return err
	}
	return writeKeys(dir, map[string][]byte{"front-proxy-ca.crt": front.pem})
}

// pair signs a certificate and writes it and its key into the folder, as
// <name>.crt and <name>.key.
func (a *authority) pair(dir, name string, subject pkix.Name, use x509.ExtKeyUsage, hosts ...string) error {
	cert, key, err := a.sign(subject, use, hosts...)
	if err != nil {
		return err
	}
	return writeKeys(dir, map[string][]byte{name + ".crt": cert, name + ".key": key})
}

func writeKeys(dir string, files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("write the certificates: %w", err)
		}
	}
	return nil
}
