package balancer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Answer is what an upstream tells of itself in the header of a good answer to
// an HTTP check:
//
//	Streamspace-Weight: 0 to 256; its weight from now on, 0: give it nothing new
//	Streamspace-Drain: 1; give it nothing new, it is about to leave
//
// A value of another form, and a header that is there twice, counts as not there.
// The zero Answer tells nothing.
type Answer struct {
	Weighted bool // Weight was told
	Weight   int
	Drain    bool
}

const (
	headerWeight = "Streamspace-Weight"
	headerDrain  = "Streamspace-Drain"
	maxWeight    = 256
)

func readAnswer(header http.Header) Answer {
	only := func(key string) string {
		if values := header.Values(key); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	var a Answer
	if weight, err := strconv.ParseUint(only(headerWeight), 10, 16); err == nil && weight <= maxWeight {
		a.Weighted, a.Weight = true, int(weight)
	}
	a.Drain = only(headerDrain) == "1"
	return a
}

// answerLimit bounds a whole answer, header, framing and body, in bytes.
const answerLimit = 1 << 20

// firstSpread is the longest time over which the first checks of many upstreams
// are spread.
const firstSpread = time.Second

// checker asks one upstream again and again whether it can serve. Its fields are
// set before run and not changed after.
type checker struct {
	config  HealthConfig // valid
	address string       // "host:port" to connect to
	host    string       // for the Host header, unless the config has one
	tls     *tls.Config  // nil: plain. ServerName may be empty: the host of address
	hello   []byte       // comes before all else
	known   health       // what an earlier checker of the same upstream found

	// told gets the result of every check, changed every change of health, after the
	// told of the check that made it. why is for a person: what is wrong, or what was
	// answered. Both are called by run and may not block. nil: not told. A check for
	// which the edge itself lacked a descriptor is told and changes nothing.
	told    func(ok bool, why string, a Answer)
	changed func(up bool, why string)

	dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: a net.Dialer's
	random func() float64                                                       // from 0 to below 1; nil: math/rand's
}

// run checks until ctx ends; a check that this breaks off is not told. Without
// anything to check it tells that the upstream is up, and returns.
func (c *checker) run(ctx context.Context) {
	if !c.config.active() {
		c.tellChange(true, "it is not checked")
		return
	}
	config := c.config.withDefaults()
	good, err := parseStatus(config.Status)
	if err != nil {
		panic("balancer: a health config that is not valid: " + err.Error())
	}
	state := thresholds{healthy: config.Healthy, unhealthy: config.Unhealthy, state: c.known}
	timer := time.NewTimer(c.share(min(config.Interval, firstSpread)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// 0.9 to 1.1 of the interval, counted from the start of this check.
		next := time.Now().Add(config.Interval - config.Interval/10 + c.share(config.Interval/5))
		why, answer, err := c.check(ctx, config, good)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			why = err.Error()
		}
		if c.told != nil {
			c.told(err == nil, why, answer)
		}
		if !ownLack(err) && state.note(err == nil) {
			c.tellChange(err == nil, why)
		}
		timer.Reset(time.Until(next))
	}
}

func (c *checker) tellChange(up bool, why string) {
	if c.changed != nil {
		c.changed(up, why)
	}
}

// share is a random part of d.
func (c *checker) share(d time.Duration) time.Duration {
	random := c.random
	if random == nil {
		random = rand.Float64
	}
	return time.Duration(random() * float64(d))
}

// check is one check. Its error is made for a person and says what is wrong with
// the upstream; without one, what is what it answered.
func (c *checker) check(ctx context.Context, config HealthConfig, good statuses) (what string, a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, config.Timeout)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return "", a, inWords(ctx, err, "connection", config.Timeout)
	}
	// The connection is closed once, here or by the end of ctx, and not left behind.
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	defer func() {
		if stop() {
			_ = conn.Close()
		} else {
			<-closed
		}
	}()
	if len(c.hello) > 0 {
		if _, err := conn.Write(c.hello); err != nil {
			return "", a, inWords(ctx, err, "connection", config.Timeout)
		}
	}
	if config.TCP {
		return "took a connection", a, nil
	}
	stream := conn
	if c.tls != nil {
		secure := tls.Client(conn, c.tlsConfig())
		if err := secure.Handshake(); err != nil {
			return "", a, inWords(ctx, err, "TLS handshake", config.Timeout)
		}
		stream = secure
	}
	response, body, err := c.ask(stream, config, good)
	if err != nil {
		return "", a, inWords(ctx, err, "answer", config.Timeout)
	}
	if !bytes.Contains(body, []byte(config.Body)) {
		return "", a, fmt.Errorf("answered %d without %.60q in the first %d KiB", response.StatusCode, config.Body, bodyLimit>>10)
	}
	return fmt.Sprintf("answered %d", response.StatusCode), readAnswer(response.Header), nil
}

func (c *checker) connect(ctx context.Context) (net.Conn, error) {
	if c.dial != nil {
		return c.dial(ctx, "tcp", c.address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", c.address)
}

func (c *checker) tlsConfig() *tls.Config {
	config := c.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(c.address)
	}
	return config
}

// ask sends the request and reads an answer that is good by its status to its
// end, but no more than bodyLimit of its body.
func (c *checker) ask(stream io.ReadWriter, config HealthConfig, good statuses) (*http.Response, []byte, error) {
	host := config.Host
	if host == "" {
		host = c.host
	}
	_, err := io.WriteString(stream, "GET "+config.Path+" HTTP/1.1\r\nHost: "+host+
		"\r\nUser-Agent: streamspace-health\r\nAccept: */*\r\nConnection: close\r\n\r\n")
	if err != nil {
		return nil, nil, err
	}
	limited := &io.LimitedReader{R: stream, N: answerLimit}
	reader := bufio.NewReader(limited)
	response, err := http.ReadResponse(reader, nil)
	for err == nil && informational(response.StatusCode) {
		response, err = http.ReadResponse(reader, nil)
	}
	if err != nil {
		return nil, nil, readFailure(err, limited, "without an answer")
	}
	if !good.has(response.StatusCode) {
		return nil, nil, fmt.Errorf("answered %d, not %s", response.StatusCode, config.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	if err != nil {
		return nil, nil, readFailure(err, limited, "amid its answer")
	}
	return response, body, nil
}

// informational tells what may come ahead of an answer, like 103 (RFC 9110, 15.2);
// after 101 no HTTP follows.
func informational(status int) bool {
	return 100 <= status && status < 200 && status != http.StatusSwitchingProtocols
}

// readFailure is what is wrong with an answer, or err when that is of the
// connection; at says when an end came too early.
func readFailure(err error, read *io.LimitedReader, at string) error {
	var network net.Error
	switch {
	case read.N == 0:
		return fmt.Errorf("its answer has more than %d KiB of header and framing", answerLimit>>10)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("closed the connection %s", at)
	case errors.As(err, &network), errors.Is(err, io.ErrClosedPipe):
		return err
	default:
		return errors.New("its answer is not HTTP/1.1")
	}
}

// ownLack tells errors that say nothing about the upstream: this process, or its
// system, has no descriptor left to connect with.
func ownLack(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// inWords is err for a person; awaited is what had not come if ctx has ended.
func inWords(ctx context.Context, err error, awaited string, timeout time.Duration) error {
	var network net.Error
	if ctx.Err() != nil || (errors.As(err, &network) && network.Timeout()) {
		return fmt.Errorf("no %s within %s", awaited, timeout)
	}
	var (
		errno       syscall.Errno
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		notTLS      tls.RecordHeaderError
		operation   *net.OpError
	)
	switch {
	case errors.As(err, &errno):
		return errno // "connection refused", "no route to host"
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("there is no host %s", name.Name)
	case errors.As(err, &name):
		return fmt.Errorf("the host %s can't be looked up: %s", name.Name, name.Err)
	case errors.As(err, &certificate):
		return fmt.Errorf("its certificate is not accepted: %s", strings.TrimPrefix(certificate.Err.Error(), "x509: "))
	case errors.As(err, &notTLS):
		return errors.New("does not speak TLS")
	case errors.As(err, &operation) && operation.Op == "remote error": // an alert
		return fmt.Errorf("refused TLS: %s", strings.TrimPrefix(operation.Err.Error(), "tls: "))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("closed the connection before the %s", awaited)
	case errors.As(err, &operation):
		return operation.Err
	default:
		return err
	}
}
