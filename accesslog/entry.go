package accesslog

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is what the log tells of one request, or of one upgraded connection at
// its end. A zero value is left out, but for times, sizes and the status.
//
// Nobody may put a credential into one: no query, cookie, header or ticket.
type Entry struct {
	At        time.Time // when the request came
	RequestID string
	Client    netip.Addr

	Method, Host, Path []byte // Path as it was sent, without its query
	Query              bool   // there was one
	UserAgent          []byte

	Protocol string // "HTTP/1.1"
	Upgrade  string // what the connection went on with: "websocket"
	TLS      string // "1.3"
	Status   int
	BytesIn  int64 // of the request's body, or from the client after the upgrade
	BytesOut int64 // the other way

	Duration time.Duration
	Queued   time.Duration // waited for a place at an upstream
	Upstream time.Duration // from the last attempt's beginning to the head of its answer

	Route, Pool, Server string
	Attempts            int    // how often it was sent to an upstream
	Ended               string // Done, ClientLeft, UpstreamFailed, or the code of the edge's refusal
}

// HTTP2 is the Protocol of what came by HTTP/2.
const HTTP2 = "HTTP/2.0"

// How requests end that the edge did not refuse.
const (
	Done           = "done"
	ClientLeft     = "client_left"
	UpstreamFailed = "upstream_failed" // amid its answer or an upgraded connection
)

// StatusClientLeft is the status of a client that left before it had an answer;
// the number is the one that nginx logs.
const StatusClientLeft = 499

// Over notes the TLS that the request came by, and HTTP/2 where that was agreed
// on: inside the edge it is one of HTTP/1.1. nil: there was none.
func (e *Entry) Over(state *tls.ConnectionState) {
	if state == nil {
		return
	}
	e.TLS = TLSName(state.Version)
	if state.NegotiatedProtocol == "h2" { // RFC 9113 section 3.1
		e.Protocol = HTTP2
	}
}

// TLSName is "1.3" for a version of crypto/tls, and empty for 0.
func TLSName(version uint16) string {
	if version == 0 {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(version), "TLS ")
}

// notable entries are never left out by sampling.
func (e *Entry) notable() bool {
	return e.Status >= 500 || e.Ended != Done && e.Ended != ClientLeft && e.Ended != ""
}

// The longest values, in bytes; what is cut off shows as an ellipsis.
const (
	mostPath  = 1024
	mostText  = 256
	mostShort = 128
)

const timeForm = "2006-01-02T15:04:05.000Z"

// append adds the entry as one line of JSON.
func (e *Entry) append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.At.UTC().AppendFormat(b, timeForm)
	b = append(b, '"')
	b = field(b, "request_id", e.RequestID, mostShort)
	if e.Client.IsValid() {
		b = append(b, `,"client":"`...)
		b = e.Client.WithZone("").AppendTo(b)
		b = append(b, '"')
	}
	b = field(b, "method", e.Method, mostShort)
	b = field(b, "host", e.Host, mostText)
	b = field(b, "path", redacted(e.Path), mostPath)
	if e.Query {
		b = append(b, `,"query":true`...)
	}
	b = field(b, "protocol", e.Protocol, mostShort)
	b = field(b, "upgrade", e.Upgrade, mostShort)
	b = field(b, "tls", e.TLS, mostShort)
	b = number(b, "status", int64(e.Status))
	b = number(b, "bytes_in", e.BytesIn)
	b = number(b, "bytes_out", e.BytesOut)
	b = seconds(b, "duration", e.Duration)
	b = field(b, "route", e.Route, mostText)
	b = field(b, "pool", e.Pool, mostShort)
	b = field(b, "upstream", e.Server, mostText)
	if e.Attempts > 0 {
		b = number(b, "attempts", int64(e.Attempts))
		b = seconds(b, "upstream_time", e.Upstream)
	}
	if e.Queued > 0 {
		b = seconds(b, "queue_time", e.Queued)
	}
	b = field(b, "user_agent", e.UserAgent, mostText)
	b = field(b, "ended", e.Ended, mostShort)
	return append(b, '}', '\n')
}

// ShownPath is the path as the log shows it: without credentials, and cut.
func (e *Entry) ShownPath() []byte {
	path := redacted(e.Path)
	return path[:min(len(path), mostPath)]
}

// redacted is a path without what looks like a key or a ticket of the edge's: no
// path has one, but clients make mistakes.
func redacted(path []byte) []byte {
	if !hasCredential(path) {
		return path
	}
	parts := bytes.Split(path, []byte{'/'})
	for i, part := range parts {
		if hasCredential(part) {
			parts[i] = []byte("[redacted]")
		}
	}
	return bytes.Join(parts, []byte{'/'})
}

// hasCredential looks through all percent-encoding of text: who reads the log may
// take off as much of it as was put on.
func hasCredential(text []byte) bool {
	if bytes.IndexByte(text, '%') >= 0 {
		text = decoded(text)
	}
	return bytes.Contains(text, []byte("ssk_")) || bytes.Contains(text, []byte("eyJ"))
}

// decoded is text without any percent-encoding, however often it was encoded, in
// one pass: what is decoded may complete an encoding with what is before it.
func decoded(text []byte) []byte {
	plain := make([]byte, 0, len(text))
	for _, c := range text {
		plain = append(plain, c)
		for n := len(plain); n >= 3 && plain[n-3] == '%'; n = len(plain) {
			high, low := unhex(plain[n-2]), unhex(plain[n-1])
			if high < 0 || low < 0 {
				break
			}
			plain = append(plain[:n-3], byte(high<<4|low))
		}
	}
	return plain
}

// unhex is the value of a hexadecimal digit, -1 of any other character.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func number(b []byte, name string, n int64) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, n, 10)
}

// seconds has six decimals: microseconds.
func seconds(b []byte, name string, d time.Duration) []byte {
	micros := max(d.Microseconds(), 0)
	b = number(b, name, micros/1e6)
	b = append(b, '.')
	for unit := int64(100_000); unit > 0; unit /= 10 {
		b = append(b, byte('0'+micros/unit%10))
	}
	return b
}

// field adds a text of at most most bytes, which a client may have chosen: what
// is no printable character is escaped or replaced, so that neither the line nor
// a terminal that shows it can be played with.
func field[T string | []byte](b []byte, name string, value T, most int) []byte {
	if len(value) == 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '"')
	for i := 0; i < len(value); {
		if i >= most {
			b = append(b, "…"...)
			break
		}
		if c := value[i]; c < utf8.RuneSelf {
			b = appendASCII(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(value[i:min(i+utf8.UTFMax, len(value))]))
		switch {
		case r == utf8.RuneError && size == 1, r < 0xa0, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			b = append(b, `\ufffd`...) // not UTF-8, C1 controls, separators, what turns the direction of text
		default:
			b = utf8.AppendRune(b, r)
		}
		i += size
	}
	return append(b, '"')
}

func appendASCII(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c < ' ' || c == 0x7f:
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	default:
		return append(b, c)
	}
}
