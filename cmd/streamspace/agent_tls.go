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
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	switch {
	case caFile != "":
		roots, err := readRoots(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	case pin != "":
		config.InsecureSkipVerify = true // the pin below is checked instead of a chain and a name
		config.VerifyConnection = func(s tls.ConnectionState) error {
			if got := websocket.PinOf(s.PeerCertificates[0]); subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
				return fmt.Errorf("the edge's key is %s, the join token expects %s; the token is of another edge, or this one has a new key: take the line of its join.token, or make a new join token", got, pin)
			}
			return nil
		}
	}
	return config, nil
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
