package balancer

import (
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// Client is the address of who sent a request: that of the connection or, when
// it is a trusted proxy's, the nearest in X-Forwarded-For that no trusted proxy
// has.
func (b *Balancer) Client(peer netip.Addr, forwardedFor []string) netip.Addr {
	peer = peer.Unmap()
	if !b.Trusted(peer) {
		return peer
	}
	return nearest(peer, forwardedFor, b.Trusted)
}

// clientAddr is Client for a request of which c is known.
func clientAddr(h *fasthttp.RequestHeader, c client, trusted func(netip.Addr) bool) netip.Addr {
	addr := c.peer.Unmap()
	if !c.trusted {
		return addr
	}
	return nearest(addr, h.PeekAll(fasthttp.HeaderXForwardedFor), trusted)
}

// nearest goes from addr towards the client, as far as proxies are trusted and
// what they say is an address.
func nearest[T string | []byte](addr netip.Addr, forwardedFor []T, trusted func(netip.Addr) bool) netip.Addr {
	for i := len(forwardedFor) - 1; i >= 0; i-- {
		parts := strings.Split(string(forwardedFor[i]), ",")
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
