package websocket

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// Trust is how a server's certificate is checked. The zero value takes the
// system's roots. There is no way to check nothing: who is in the middle would
// see what is typed.
type Trust struct {
	CAFile string // PEM roots instead of the system's; read at each use
	// Pin is "sha256:" and the hash of the certificate's public key in hex; then
	// neither chain nor name is looked at.
	Pin string
}

// Check tells whether t can be used.
func (t Trust) Check() error {
	if t.CAFile != "" && t.Pin != "" {
		return errors.New("a certificate is checked by its roots or by its pin; remove one of the two")
	}
	hash, found := strings.CutPrefix(t.Pin, pinPrefix)
	if raw, err := hex.DecodeString(hash); t.Pin != "" && (!found || err != nil || len(raw) != sha256.Size) {
		return fmt.Errorf("%q is not a pin; write %s and the 64 hexadecimal digits of the public key's SHA-256", t.Pin, pinPrefix)
	}
	_, err := t.roots()
	return err
}

const pinPrefix = "sha256:"

// roots is nil for the system's.
func (t Trust) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", t.CAFile)
	}
	return roots, nil
}

// Config is a client's for TLS with host. The error is that the roots can't be
// read.
func (t Trust) Config(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	var err error
	if config.RootCAs, err = t.roots(); err != nil {
		return nil, fmt.Errorf("the roots for its certificate: %w", err)
	}
	if t.Pin != "" {
		config.InsecureSkipVerify = true // the pin is checked instead
		config.VerifyConnection = func(s tls.ConnectionState) error {
			if got := PinOf(s.PeerCertificates[0]); subtle.ConstantTimeCompare([]byte(got), []byte(strings.ToLower(t.Pin))) != 1 {
				return fmt.Errorf("its key is %s and not the pinned one", got)
			}
			return nil
		}
	}
	return config, nil
}

// secure makes TLS over conn in a way that a loop can take over.
func (t Trust) secure(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error) {
	config, err := t.Config(host)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(reactor.NewTransport(conn), config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// PinOf is the pin of a certificate's public key: it survives a renewal under the
// same key.
func PinOf(c *x509.Certificate) string {
	hash := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + hex.EncodeToString(hash[:])
}
