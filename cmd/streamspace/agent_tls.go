package main

import (
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// agentTLS is how an agent checks its edge: by the pin of its join token when
// it has one, else by caFile, else by the system's roots.
func agentTLS(pin, caFile string) (*tls.Config, error) {
	switch {
	case caFile != "":
		roots, err := readRoots(caFile)
		if err != nil {
			return nil, err
		}
		config := toEdge()
		config.RootCAs = roots
		return config, nil
	case pin != "":
		return pinnedTLS(pin, func(got string) error {
			return fmt.Errorf("the edge's key is %s, the join token expects %s; the token is of another edge, or this one has a new key: take the line of its join.token, or make a new join token", got, pin)
		}), nil
	}
	return toEdge(), nil
}

// homeTLS is how an agent checks a home whose pin another edge has told it.
func homeTLS(pin string) *tls.Config {
	return pinnedTLS(pin, func(got string) error {
		return fmt.Errorf("the edge's key is %s, the cluster's other edges expect %s; something else answers at its address, or it has a new key that they do not know yet", got, pin)
	})
}

// pinnedTLS checks the edge's key instead of a chain and a name; wrong makes the
// error for another key.
func pinnedTLS(pin string, wrong func(got string) error) *tls.Config {
	config := toEdge()
	config.InsecureSkipVerify = true // the pin is checked
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if got := websocket.PinOf(s.PeerCertificates[0]); subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
			return wrong(got)
		}
		return nil
	}
	return config
}

func toEdge() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s can't be read: %s", file, bareError(err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New(file + " holds no PEM certificate")
	}
	return roots, nil
}
