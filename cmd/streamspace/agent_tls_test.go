package main

import (
	"crypto/tls"
	"strings"
	"testing"
)

// TestAHomeIsKnownByItsPin, and by nothing else: its certificate may be anyone's.
func TestAHomeIsKnownByItsPin(t *testing.T) {
	certificate, err := selfSigned(t.TempDir(), []string{"another.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	for pin, want := range map[string]string{
		certificate.pin():                   "",
		"sha256:" + strings.Repeat("0", 64): "the cluster's other edges expect sha256:000",
		"":                                  "the cluster's other edges expect",
	} {
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate.current.Load()}})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			if conn, err := listener.Accept(); err == nil {
				_ = conn.(*tls.Conn).Handshake() // its failure is the client's, too
				_ = conn.Close()
			}
		}()
		client := homeTLS(pin)
		client.ServerName = "edge.example.org"
		conn, err := tls.Dial("tcp", listener.Addr().String(), client)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("pin %q: %v; want %q", pin, err, want)
		}
		if err == nil {
			_ = conn.Close()
		}
		_ = listener.Close()
		<-served
	}
}
