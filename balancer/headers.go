package balancer

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// neverStripped are headers that a message can't declare to be of one
// connection: the message would mean something else without them.
var neverStripped = [...]string{"Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Authorization", "Cookie", "Trailer"}

// client is who sent a request, as the connection and trusted proxies before
// the edge tell it.
type client struct {
	peer    netip.Addr // of the connection
	trusted bool       // it is a proxy whose words about the client count
	secure  bool       // the connection to the edge has TLS
}

// header is what requests and responses have in common.
type header interface {
	PeekAll(name string) [][]byte
	Del(name string)
}

// stripConnection removes what belongs to the connection that a message came
// on, also what its Connection header names. has is what the message has.
func stripConnection(h header, has fields) {
	if has.has(fieldConnection) {
		for _, value := range h.PeekAll(fasthttp.HeaderConnection) {
			for token := range bytes.SplitSeq(value, []byte{','}) {
				name := bytes.TrimSpace(token)
				if option := string(name); option == "close" || option == "" || fieldOf(name).has(hopByHop) || isAny(option, neverStripped[:]) {
					continue // an option, or what goes anyway
				}
				h.Del(string(name))
			}
		}
	}
	has.each(fieldConnection|hopByHop, h.Del)
}

// ownVersion makes an answer one of the edge's version (RFC 9112 section 2.3):
// the upstream's says nothing of the client's connection.
func ownVersion(h *fasthttp.ResponseHeader) {
	if string(h.Protocol()) != "HTTP/1.1" {
		h.SetProtocol([]byte("HTTP/1.1"))
	}
	h.ResetConnectionClose()
}

// fieldsOf is which of the special headers an answer has.
func fieldsOf(h *fasthttp.ResponseHeader) (has fields) {
	for name := range h.All() {
		has |= fieldOf(name)
	}
	return has
}

func isAny(name string, of []string) bool {
	for _, other := range of {
		if strings.EqualFold(name, other) {
			return true
		}
	}
	return false
}

// hasToken tells whether a list of the header's values has the token, in any
// case.
func hasToken(values [][]byte, token string) bool {
	for _, value := range values {
		for one := range bytes.SplitSeq(value, []byte{','}) {
			if strings.EqualFold(string(bytes.TrimSpace(one)), token) {
				return true
			}
		}
	}
	return false
}

// passOn makes a request one of the edge's to an upstream: without what was
// between the client and the edge, with what the upstream may know of the
// client. room is for the client's address.
func passOn(h *fasthttp.RequestHeader, has fields, c client, host, room []byte) {
	trailers := has.has(fieldTE) && hasToken(h.PeekAll(fasthttp.HeaderTE), "trailers")
	stripConnection(h, has)
	has.each(fieldTE|fieldExpect, h.Del) // the edge has answered Expect
	if trailers {
		h.Set(fasthttp.HeaderTE, "trailers")
	}
	h.SetNoDefaultContentType(true)

	addr, scheme := c.peer.AppendTo(room), schemeHTTP
	if c.secure {
		scheme = schemeHTTPS
	}
	if !c.trusted {
		has.each(fieldForwarded|fieldForwardedPort|fieldRealIP, h.Del)
		h.SetCanonical(forwardedFor, addr)
		h.SetCanonical(forwardedHost, host)
		h.SetCanonical(forwardedProto, scheme)
		return
	}
	h.SetCanonical(forwardedFor, joined(h.PeekAll("X-Forwarded-For"), addr))
	if len(h.Peek("X-Forwarded-Host")) == 0 {
		h.SetCanonical(forwardedHost, host)
	}
	if len(h.Peek("X-Forwarded-Proto")) == 0 {
		h.SetCanonical(forwardedProto, scheme)
	}
	if before := h.PeekAll("Forwarded"); len(before) > 0 {
		h.Set("Forwarded", string(joined(before, forwarded(c.peer, string(host), string(scheme)))))
	}
}

// What SetCanonical takes, which Set makes anew of a string each time.
var (
	forwardedFor   = []byte("X-Forwarded-For")
	forwardedHost  = []byte("X-Forwarded-Host")
	forwardedProto = []byte("X-Forwarded-Proto")
	requestIDName  = []byte("X-Request-Id")
	schemeHTTP     = []byte("http")
	schemeHTTPS    = []byte("https")
)

// forwarded is the edge's element of a Forwarded header (RFC 7239 section 4).
func forwarded(peer netip.Addr, host, scheme string) []byte {
	node := peer.Unmap().String()
	if peer.Unmap().Is6() {
		node = `"[` + node + `]"`
	}
	return []byte("for=" + node + `;host="` + strings.ReplaceAll(host, `"`, "") + `";proto=` + scheme)
}

// joined is one header of several of a name, with one more value behind.
func joined(values [][]byte, more []byte) []byte {
	return bytes.Join(append(values[:len(values):len(values)], more), []byte(", "))
}
