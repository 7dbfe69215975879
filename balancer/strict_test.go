package balancer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// message is a request as an upstream took it.
type message struct {
	method, target, host string
	header, trailer      http.Header
	body                 string
}

// line is what a test expects: method, target, host and body.
func (m message) line() string {
	return fmt.Sprintf("%s %s %s %q", m.method, m.target, m.host, m.body)
}

// strictly is an upstream that takes nothing but what RFC 9112 lets a client
// send, and no form of it that some server reads in another way. It answers each
// whole request with its number.
type strictly struct {
	url string

	mu         sync.Mutex
	whole      []message
	bytes      int
	violations []string
}

func startStrict(t testing.TB) *strictly {
	s := &strictly{}
	s.url = rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		in := bufio.NewReader(io.TeeReader(r, s))
		for {
			m, err := readStrictly(in)
			s.mu.Lock()
			if err != nil {
				if violation := (*violation)(nil); errors.As(err, &violation) {
					s.violations = append(s.violations, violation.text)
				}
				s.mu.Unlock()
				return
			}
			s.whole = append(s.whole, m)
			n := len(s.whole)
			s.mu.Unlock()
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Seen: %d\r\nContent-Length: 0\r\n\r\n", n)
		}
	})
	return s
}

// Write counts what arrives.
func (s *strictly) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += len(p)
	return len(p), nil
}

// take returns what has come since the last time.
func (s *strictly) take() (whole []message, bytes int, violations []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole, bytes, violations = s.whole, s.bytes, s.violations
	s.whole, s.bytes, s.violations = nil, 0, nil
	return whole, bytes, violations
}

// violation is a message that no client may send; other errors are of messages
// that broke off.
type violation struct{ text string }

func (v *violation) Error() string { return v.text }

var (
	requestLine = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\\x00-\\x20\\x7f]+) HTTP/1\\.1$")
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\\x00-\\x08\\x0a-\\x1f\\x7f]*?)[ \t]*$")
	sizeLine    = regexp.MustCompile("^[0-9a-fA-F]{1,8}$")
	digits      = regexp.MustCompile("^[0-9]{1,18}$")
)

// neverTrailing are fields by which a message is framed or routed (RFC 9110
// section 6.5.1).
var neverTrailing = []string{"Content-Length", "Transfer-Encoding", "Host", "Trailer", "Te", "Connection", "Upgrade", "Authorization", "Cookie", "Content-Type"}

func readStrictly(r *bufio.Reader) (m message, err error) {
	line, err := strictLine(r)
	if err != nil {
		return m, err
	}
	parts := requestLine.FindStringSubmatch(line)
	if parts == nil {
		return m, &violation{fmt.Sprintf("the request line %q", line)}
	}
	m.method, m.target = parts[1], parts[2]
	if m.header, err = strictFields(r); err != nil {
		return m, err
	}
	lengths, encodings, hosts := m.header["Content-Length"], m.header["Transfer-Encoding"], m.header["Host"]
	switch {
	case len(hosts) != 1:
		return m, &violation{fmt.Sprintf("%d hosts", len(hosts))}
	case len(lengths) > 1, len(encodings) > 1, len(lengths)+len(encodings) > 1:
		return m, &violation{fmt.Sprintf("framed by %q and %q", lengths, encodings)}
	case len(encodings) == 1 && encodings[0] != "chunked":
		return m, &violation{fmt.Sprintf("the encoding %q", encodings[0])}
	case len(lengths) == 1 && !digits.MatchString(lengths[0]):
		return m, &violation{fmt.Sprintf("the length %q", lengths[0])}
	}
	m.host = hosts[0]
	var body []byte
	switch {
	case len(lengths) == 1:
		n, _ := strconv.Atoi(lengths[0])
		var b bytes.Buffer
		_, err = io.CopyN(&b, r, int64(n))
		body = b.Bytes()
	case len(encodings) == 1:
		if body, err = strictChunks(r); err == nil {
			m.trailer, err = strictFields(r)
		}
		for name := range m.trailer {
			if slices.Contains(neverTrailing, name) {
				return m, &violation{"the trailer " + name}
			}
		}
	}
	m.body = string(body)
	return m, err
}

func strictLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\x00") {
		return "", &violation{fmt.Sprintf("the line %q", line)}
	}
	return line, nil
}

func strictFields(r *bufio.Reader) (http.Header, error) {
	h := http.Header{}
	for {
		line, err := strictLine(r)
		if err != nil || line == "" {
			return h, err
		}
		parts := fieldLine.FindStringSubmatch(line)
		if parts == nil {
			return h, &violation{fmt.Sprintf("the field %q", line)}
		}
		h.Add(parts[1], parts[2])
	}
}

func strictChunks(r *bufio.Reader) (body []byte, err error) {
	for {
		line, err := strictLine(r)
		if err != nil {
			return body, err
		}
		if !sizeLine.MatchString(line) {
			return body, &violation{fmt.Sprintf("the chunk size %q", line)}
		}
		n, _ := strconv.ParseUint(line, 16, 32)
		if n == 0 {
			return body, nil
		}
		var b bytes.Buffer
		if _, err := io.CopyN(&b, r, int64(n)); err != nil {
			return body, err
		}
		body = append(body, b.Bytes()...)
		if end, err := strictLine(r); err != nil {
			return body, err
		} else if end != "" {
			return body, &violation{fmt.Sprintf("%q behind a chunk", end)}
		}
	}
}

// lenient is an upstream that takes what Go's server takes.
type lenient struct {
	mu    sync.Mutex
	whole []message
}

// ServeHTTP notes whole requests; the others' bodies end with an error.
func (l *lenient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = append(l.whole, message{r.Method, r.RequestURI, r.Host, r.Header, r.Trailer, string(body)})
	w.Header().Set("X-Seen", strconv.Itoa(len(l.whole)))
}

func (l *lenient) take() []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	whole := l.whole
	l.whole = nil
	return whole
}
