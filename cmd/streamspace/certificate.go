package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// certificates serves the current certificate to every handshake; load swaps
// it without touching a live connection.
type certificates struct {
	current atomic.Pointer[tls.Certificate]
}

// keyPairError names the config key whose file is at fault.
type keyPairError struct{ key, text string }

func (e *keyPairError) Error() string { return e.key + ": " + e.text }

// loadKeyPair reads and matches a certificate and its key. Its errors never
// hold key material.
func loadKeyPair(certFile, keyFile string) (*tls.Certificate, *keyPairError) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, &keyPairError{"tls.cert_file", cannotRead(certFile, err)}
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, &keyPairError{"tls.key_file", cannotRead(keyFile, err)}
	}
	if block, _ := pem.Decode(certPEM); block == nil || block.Type != "CERTIFICATE" {
		return nil, &keyPairError{"tls.cert_file", certFile + " holds no PEM certificate"}
	}
	if block, _ := pem.Decode(keyPEM); block == nil {
		return nil, &keyPairError{"tls.key_file", keyFile + " holds no PEM private key"}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, &keyPairError{"tls.key_file", fmt.Sprintf("%s and %s do not belong together or can't be used: %s", keyFile, certFile, err)}
	}
	return &pair, nil
}

func cannotRead(file string, err error) string {
	text := fmt.Sprintf("%s can't be read: %s", file, bareError(err))
	if errors.Is(err, fs.ErrPermission) {
		text += fmt.Sprintf(" for user %d; let a group of the edge read it, as docs/config.md says", os.Geteuid())
	}
	return text
}

func openCertificates(certFile, keyFile string) (*certificates, error) {
	c := &certificates{}
	return c, c.load(certFile, keyFile)
}

// load serves the certificate of these files from now on; on an error the one
// of before stays.
func (c *certificates) load(certFile, keyFile string) error {
	pair, err := loadKeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	c.current.Store(pair)
	return nil
}

// serverTLS is the edge's side of every handshake. protocols are those of ALPN,
// the best first.
func (c *certificates) serverTLS(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		// One update, one record: small ones for a first megabyte would cost a
		// viewer's connection dearly, and an update is of no use in parts.
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// pin is what an agent checks the certificate by: "sha256:<hex>".
func (c *certificates) pin() string { return websocket.PinOf(c.current.Load().Leaf) }

// 825 days is the longest life that every current browser and operating system
// takes from a certificate that a user trusts by hand.
const selfSignedLife = 825 * 24 * time.Hour

// selfSigned opens the certificate of the folder, making it when there is none
// and renewing it, under the same key, in the last 30 days of its life, when it
// lacks one of the hosts, or when it was made by a clock that was ahead.
func selfSigned(dir string, hosts []string) (*certificates, error) {
	certFile, keyFile := filepath.Join(dir, "self-signed.crt"), filepath.Join(dir, "self-signed.key")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder for the self-signed certificate can't be made: %w", err)
	}
	key, err := selfSignedKey(keyFile)
	if err != nil {
		return nil, err
	}
	if c, err := openCertificates(certFile, keyFile); err == nil && stillGood(c.current.Load().Leaf, hosts) {
		return c, nil
	}
	der, err := signSelf(key, hosts)
	if err != nil {
		return nil, err
	}
	if err := writePEM(certFile, "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	return openCertificates(certFile, keyFile)
}

func stillGood(leaf *x509.Certificate, hosts []string) bool {
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			return false
		}
	}
	return !time.Now().Before(leaf.NotBefore) && time.Until(leaf.NotAfter) > 30*24*time.Hour
}

func selfSignedKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, writePEM(file, "PRIVATE KEY", der, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the self-signed certificate can't be read: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM private key; remove it and a new one is made (agents then need a new join token)", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is not the key that was made here; remove it and a new one is made (agents then need a new join token)", file)
	}
	return key, nil
}

func signSelf(key *ecdsa.PrivateKey, hosts []string) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "StreamSpace Edge self-signed"},
		NotBefore:             now.Add(-time.Hour), // a host whose clock is a little behind still takes it
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
}

// selfSignedHosts are the names under which this host can be reached: its own,
// its addresses, and what the config says.
func selfSignedHosts(extra ...string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		extra = append(extra, name)
	}
	addresses, _ := net.InterfaceAddrs() // without them the certificate still serves localhost and the name
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			extra = append(extra, ip.IP.String())
		}
	}
	for _, host := range extra {
		if host != "" && !net.ParseIP(host).IsUnspecified() && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	return writeFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// writeFile replaces file as a whole: a reader sees the old text or the new,
// and so does who reads it after a power cut.
func writeFile(file string, text []byte, mode os.FileMode) error {
	temporary := file + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	_ = folder.Sync() // where a folder can't be synced, there is nothing better to do
	return folder.Close()
}
