package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// unreachable is why there is no connection to the edge, in words for its
// operator. The libraries' own errors nest several layers and say nothing of
// what to change.
type unreachable struct {
	text  string
	cause error
}

func (e *unreachable) Error() string { return e.text }
func (e *unreachable) Unwrap() error { return e.cause }

func (d *dialer) unreachable(cause error, format string, args ...any) error {
	return &unreachable{"the edge at " + d.address + " " + fmt.Sprintf(format, args...), cause}
}

// notReached is for an err of the TCP connection.
func (d *dialer) notReached(err error) error {
	var name *net.DNSError
	var number syscall.Errno
	var network net.Error
	switch {
	case errors.As(err, &name):
		return d.unreachable(err, "can't be reached: the name can't be resolved (%s); is it right in edge?", name.Err)
	case errors.As(err, &number):
		return d.unreachable(err, "can't be reached: %s", number)
	case errors.As(err, &network) && network.Timeout():
		return d.unreachable(err, "can't be reached: no answer within %s", dialTimeout)
	default:
		return d.unreachable(err, "can't be reached: %v", err)
	}
}

// notTrusted is for an err of the TLS handshake.
func (d *dialer) notTrusted(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var notTLS tls.RecordHeaderError
	if verification := (*tls.CertificateVerificationError)(nil); errors.As(err, &verification) {
		err = verification.Err
	}
	switch {
	case errors.As(err, &unknown) && d.tls.RootCAs != nil:
		return d.unreachable(err, "has a certificate that no authority in tls.ca_file has signed")
	case errors.As(err, &unknown):
		return d.unreachable(err, "has a certificate that no authority known to this host has signed, and the token has no pin to know it by; "+
			"copy the whole line of the edge's join.token, with its @sha256:..., into token_file, or set tls.ca_file")
	case errors.As(err, &name):
		return d.unreachable(err, "has a certificate for another name (%s); write one of its names in edge", strings.TrimPrefix(name.Error(), "x509: "))
	case errors.As(err, &notTLS):
		return d.unreachable(err, "does not speak TLS there; write http:// in edge if it has TLS off, or change the port")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return d.unreachable(err, "closed the connection during the TLS handshake")
	default:
		return d.unreachable(err, "can't be trusted: %s", strings.TrimPrefix(err.Error(), "x509: "))
	}
}

// unanswered is for an err of the upgrade, when there was no answer to it.
func (d *dialer) unanswered(err error) error {
	var known *unreachable
	switch {
	case errors.As(err, &known):
		return known
	case (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && d.tls == nil:
		return d.unreachable(err, "closed the connection without an answer; write https:// in edge if it has TLS")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return d.unreachable(err, "closed the connection without an answer")
	default:
		return err
	}
}

// firstLine is what a plain text says, for an error; empty for anything else.
func firstLine(contentType string, body []byte) string {
	const most = 200 // bytes
	if contentType != "" && !strings.HasPrefix(contentType, "text/plain") {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return cut(strings.ToValidUTF8(line, "?"), most)
}
