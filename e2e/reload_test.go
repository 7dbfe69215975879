package e2e

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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// writeCertificate makes a certificate for 127.0.0.1 with that serial number.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeText(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// serial is that of the certificate which a new connection gets.
func serial(t *testing.T, address string) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestHangupReloadsTheCertificate: new connections get the new one, a viewer's
// stream goes on, and a broken file changes nothing.
func TestHangupReloadsTheCertificate(t *testing.T) {
	folder := t.TempDir()
	certFile, keyFile := filepath.Join(folder, "edge.crt"), filepath.Join(folder, "edge.key")
	writeCertificate(t, certFile, keyFile, 1)
	server := startRandomServer(t, 1<<20)
	address, admin := freePort(t), freePort(t)
	config := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
		"listen: {https: %q, http: %q, admin: %q}\ntls: {cert_file: %q, key_file: %q}\nstore: {sqlite: {path: %q}}\ndirect: {allow: [\"127.0.0.0/8:1-65535\"]}\n",
		address, "127.0.0.1:0", admin, certFile, keyFile, filepath.Join(folder, "data", "s.db")))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", config)}
	in.serves(filepath.Join(folder, "data"))
	id := in.running(map[string]any{"endpoint": server.Addr().String()}).ID
	viewer := in.mustView(testContext(t), id)
	if err := verify(viewer, 1, 1<<20); err != nil {
		t.Fatal(err)
	}

	writeCertificate(t, certFile, keyFile, 2)
	in.process.signal(syscall.SIGHUP)
	eventually(t, "new connections get the new certificate", func() error {
		if n := serial(t, address); n != 2 {
			return fmt.Errorf("the serial number is %d", n)
		}
		return nil
	})
	writeText(t, keyFile, "broken")
	in.process.signal(syscall.SIGHUP)
	eventually(t, "the broken key is said so", func() error {
		if output := in.process.output.String(); !strings.Contains(output, "tls.key_file") {
			return fmt.Errorf("the output is %s", output)
		}
		return nil
	})
	if n := serial(t, address); n != 2 {
		t.Errorf("after a broken reload the serial number is %d, not 2", n)
	}
	if err := echo(viewer, []byte("the stream goes on")); err != nil {
		t.Error(err)
	}
}

// TestHangupDuringTheStartReloadsAfterIt: it is sent while the edge waits to read
// its certificate for the first time.
func TestHangupDuringTheStartReloadsAfterIt(t *testing.T) {
	folder := t.TempDir()
	certFile, keyFile, pipe := filepath.Join(folder, "edge.crt"), filepath.Join(folder, "edge.key"), filepath.Join(folder, "pipe.crt")
	writeCertificate(t, certFile, keyFile, 1)
	certificate, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	config := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
		"listen: {https: \"127.0.0.1:0\", http: \"\", admin: \"\"}\ntls: {cert_file: %q, key_file: %q}\nstore: {sqlite: {path: %q}}\n",
		pipe, keyFile, filepath.Join(folder, "s.db")))
	edge := start(t, "edge", "--config", config)
	hangup := sync.OnceFunc(func() { edge.signal(syscall.SIGHUP) })
	eventually(t, "the edge has reloaded", func() error {
		if output := edge.output.String(); strings.Contains(output, "reload: done") {
			return nil
		}
		if edge.ended() {
			t.Fatalf("it ended with status %d", edge.wait())
		}
		reader, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return err // nobody reads now
		}
		hangup()
		_, err = reader.Write(certificate)
		return errors.Join(errors.New("it reads"), err, reader.Close())
	})
}

// TestDrainTellsViewersToComeBack: SIGTERM closes viewers with 1012 and ends
// with status 0 within the deadline.
func TestDrainTellsViewersToComeBack(t *testing.T) {
	server := startRandomServer(t, 1<<20)
	in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "")
	viewer := in.mustView(testContext(t), in.running(nil).ID)
	if err := verify(viewer, 1, 1<<20); err != nil {
		t.Fatal(err)
	}
	in.process.signal(syscall.SIGTERM)
	_, err := viewer.Read(make([]byte, 1))
	// There may be no other edge, so none is promised.
	if code, reason := closeOf(err); code != 1012 || !strings.HasPrefix(reason, "node_draining:") || strings.Contains(reason, "takes over") {
		t.Errorf("close %d %q, want 1012 node_draining", code, reason)
	}
	if status := in.process.wait(); status != 0 {
		t.Errorf("exit status %d after a drain", status)
	}
}

// TestPlainHTTPPointsToHTTPS: the redirect keeps path and query.
func TestPlainHTTPPointsToHTTPS(t *testing.T) {
	folder := t.TempDir()
	https, plain := freePort(t), freePort(t)
	config := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
		"listen: {https: %q, http: %q, admin: \"\"}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\n", https, plain, filepath.Join(folder, "s.db")))
	in := &installation{t: t, URL: "https://" + https, process: start(t, "edge", "--config", config)}
	eventually(t, "the edge serves", in.healthy)
	c := client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := c.Get("http://" + plain + "/desktop/x?a=b")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if to := response.Header.Get("Location"); response.StatusCode != http.StatusPermanentRedirect || to != "https://"+https+"/desktop/x?a=b" {
		t.Errorf("status %d, location %q", response.StatusCode, to)
	}
	const large = 64 << 20 // of a body that nobody wants
	response, err = (&installation{URL: "http://" + plain}).upload("/x", fmt.Sprintf("Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d", large), large)
	if err != nil || response.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("an upload: %v, %v", response, err)
	}
}
