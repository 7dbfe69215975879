package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// site is where one measurement takes place: its folder, the VNC servers, and
// the processes of the system under test. Whoever makes it closes it.
type site struct {
	dir     string
	program string // the streamspace binary
	certificate
	servers   []string // the VNC servers' addresses
	viewers   int      // that will come, for which the system needs tickets or room
	door      door
	processes []*process // of the system under test
	admin     string     // the edge's admin listener; empty: the system has none
}

// run starts a process of the system under test.
func (s *site) run(name string, argv ...string) (*process, error) {
	p, err := launch(name, s.dir, argv...)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

func (s *site) leaders() (pids []int) {
	for _, p := range s.processes {
		pids = append(pids, p.pid())
	}
	return pids
}

func (s *site) alive() error {
	for _, p := range s.processes {
		if err := p.alive(); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) close() {
	for _, p := range s.processes {
		p.stop(2 * time.Second)
	}
	s.processes = nil
}

// file writes a config file into the site's folder.
func (s *site) file(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// freeAddress is a port of this host that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// listening waits until p accepts connections on address.
func listening(ctx context.Context, p *process, address string) error {
	return until(ctx, p, 15*time.Second, "does not listen on "+address, func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// certificate is the one that all systems of a run show.
type certificate struct {
	certFile, keyFile, bothFile string // PEM; bothFile is what HAProxy wants
}

// makeCertificate writes a self-signed one with an ECDSA P-256 key into dir.
func makeCertificate(dir string) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return certificate{}, err
	}
	c := certificate{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "both.pem")}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for file, text := range map[string][]byte{c.certFile: certPEM, c.keyFile: keyPEM, c.bothFile: append(certPEM, keyPEM...)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return certificate{}, err
		}
	}
	return c, nil
}

// crew is a worker process as seen from the one that directs.
type crew struct {
	process *process
	orders  io.WriteCloser
	answers io.Closer
	out     *json.Encoder
	in      *json.Decoder
}

func startCrew(s *site, role string) (*crew, error) {
	p := prepare("the "+role+" of the load generator", s.dir, s.program, "bench", "worker", role)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = writer
	err = p.begin()
	_ = writer.Close() // the child's copy counts
	if err != nil {
		_ = stdout.Close()
		return nil, err
	}
	go func() { // an answer that will not come must not be waited for
		<-p.exited
		_ = stdout.SetReadDeadline(time.Now().Add(time.Second))
	}()
	return &crew{process: p, orders: stdin, answers: stdout, out: json.NewEncoder(stdin), in: json.NewDecoder(stdout)}, nil
}

// tell gives an order and waits for what came of it.
func (c *crew) tell(ctx context.Context, o order) (answer, error) {
	type result struct {
		answer answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		if r.err = c.out.Encode(o); r.err == nil {
			r.err = c.in.Decode(&r.answer)
		}
		done <- r
	}()
	select {
	case r := <-done:
		switch {
		case r.err != nil:
			if gone := c.process.alive(); gone != nil {
				return answer{}, gone
			}
			return answer{}, fmt.Errorf("%s: %w", c.process.name, r.err)
		case r.answer.Error != "":
			return r.answer, &workError{r.answer.Error}
		}
		return r.answer, nil
	case <-ctx.Done():
		c.process.stop(0) // ends the goroutine above
		<-done
		return answer{}, context.Cause(ctx)
	}
}

// workError is what went wrong between viewers and VNC servers.
type workError struct{ text string }

func (e *workError) Error() string { return e.text }

func (c *crew) close() {
	_ = c.orders.Close()
	select {
	case <-c.process.exited:
	case <-time.After(10 * time.Second):
	}
	c.process.stop(0)
	_ = c.answers.Close()
}
