package balancer

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// hopByHop are the headers of one connection (RFC 9110 section 7.6.1, and those
// that RFC 2616 knew), which a proxy does not pass on. Transfer-Encoding is
// fasthttp's, Trailer goes on with the trailers.
var hopByHop = [...]string{"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Upgrade"}

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
// on, also what its Connection header names.
func stripConnection(h header) {
	for _, value := range h.PeekAll(fasthttp.HeaderConnection) {
		for token := range bytes.SplitSeq(value, []byte{','}) {
			if name := string(bytes.TrimSpace(token)); name != "" && !isAny(name, neverStripped[:]) {
				h.Del(name)
			}
		}
	}
	h.Del(fasthttp.HeaderConnection)
	for _, name := range hopByHop {
		h.Del(name)
	}
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
// client.
func passOn(h *fasthttp.RequestHeader, c client, host string) {
	trailers := hasToken(h.PeekAll(fasthttp.HeaderTE), "trailers")
	stripConnection(h)
	h.Del(fasthttp.HeaderTE)
	if trailers {
		h.Set(fasthttp.HeaderTE, "trailers")
	}
	h.Del(fasthttp.HeaderExpect) // the edge has answered it
	h.SetNoDefaultContentType(true)

	addr, scheme := c.peer.Unmap().String(), "http"
	if c.secure {
		scheme = "https"
	}
	if !c.trusted {
		h.Del("Forwarded")
		h.Set("X-Forwarded-For", addr)
		h.Set("X-Forwarded-Host", host)
		h.Set("X-Forwarded-Proto", scheme)
		h.Del("X-Forwarded-Port")
		h.Del("X-Real-Ip")
		return
	}
	h.Set("X-Forwarded-For", joined(h.PeekAll("X-Forwarded-For"), addr))
	if len(h.Peek("X-Forwarded-Host")) == 0 {
		h.Set("X-Forwarded-Host", host)
	}
	if len(h.Peek("X-Forwarded-Proto")) == 0 {
		h.Set("X-Forwarded-Proto", scheme)
	}
	if before := h.PeekAll("Forwarded"); len(before) > 0 {
		h.Set("Forwarded", joined(before, forwarded(c.peer, host, scheme)))
	}
}

// forwarded is the edge's element of a Forwarded header (RFC 7239 section 4).
func forwarded(peer netip.Addr, host, scheme string) string {
	node := peer.Unmap().String()
	if peer.Unmap().Is6() {
		node = `"[` + node + `]"`
	}
	return "for=" + node + `;host="` + strings.ReplaceAll(host, `"`, "") + `";proto=` + scheme
}

// joined is one header of several of a name, with one more value behind.
func joined(values [][]byte, more string) string {
	var b strings.Builder
	for _, v := range values {
		b.Write(v)
		b.WriteString(", ")
	}
	b.WriteString(more)
	return b.String()
}

// clientAddr is the address of the client itself: the nearest one in
// X-Forwarded-For that no trusted proxy has.
func clientAddr(h *fasthttp.RequestHeader, c client, trusted func(netip.Addr) bool) netip.Addr {
	addr := c.peer.Unmap()
	if !c.trusted {
		return addr
	}
	values := h.PeekAll("X-Forwarded-For")
	for i := len(values) - 1; i >= 0; i-- {
		parts := strings.Split(string(values[i]), ",")
		for j := len(parts) - 1; j >= 0; j-- {
			said, err := netip.ParseAddr(strings.TrimSpace(parts[j]))
			if err != nil {
				return addr
			}
			if addr = said.Unmap(); !trusted(addr) {
				return addr
			}
		}
	}
	return addr
}
