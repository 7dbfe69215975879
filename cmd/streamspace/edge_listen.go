package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/listen"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// listen takes the addresses. What connects before the rest is open waits.
func (e *edge) listen(context.Context) error {
	open := func(key, address string) (net.Listener, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, listenError(e.config.called(key), address, err)
		}
		return &patientListener{Listener: l, log: e.log.Named("accept")}, nil
	}
	announced := e.config.accepting().Proxies
	proxies := func(addr netip.Addr) bool {
		// The balancer is there before anything is accepted.
		return e.balancer.Trusted(addr) || slices.ContainsFunc(announced, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
	}
	crowd := newCrowd(e.config.Limits.ConnectionsPerAddress, proxies, e.registry)
	admin := open
	if crowd.most > 0 {
		open = func(key, address string) (net.Listener, error) {
			l, err := admin(key, address)
			if err != nil {
				return nil, err
			}
			return crowdListener{l, crowd}, nil
		}
	}
	l := e.config.Listen
	var err error
	if l.HTTPS != "" {
		if err = e.listenPublic(open, "listen.https", l.HTTPS); err != nil {
			return err
		}
	}
	if l.HTTP != "" {
		if e.config.TLS.Off {
			err = e.listenPublic(open, "listen.http", l.HTTP)
		} else {
			e.redirect, err = open("listen.http", l.HTTP)
		}
		if err != nil {
			return err
		}
	}
	if l.Admin != "" {
		e.admin, err = admin("listen.admin", l.Admin)
	}
	return err
}

func (e *edge) listenPublic(open func(key, address string) (net.Listener, error), key, address string) error {
	l, err := open(key, address)
	if err != nil {
		return err
	}
	e.public = append(e.public, l)
	return nil
}

// secure puts the certificates, where there are any, to the public listeners.
func (e *edge) secure(context.Context) error {
	for i, l := range e.public {
		l = e.wait(l)
		if e.certificates != nil {
			l = newTLSListener(l, e.certificates.serverTLS(e.protocols()...))
		}
		e.public[i] = reactor.LendTelling(l, e.arrivals.handshakeFailed)
	}
	if e.redirect != nil {
		e.redirect = e.wait(e.redirect)
	}
	return nil
}

// accepting is the config's, with what is the edge's own.
func (e *edge) accepting() listen.Options {
	o := e.config.accepting()
	o.Lingering = &e.lingering
	return o
}

// wait gives the connections of l their PROXY headers and their timeouts.
func (e *edge) wait(l net.Listener) net.Listener {
	o := e.accepting()
	o.Refused, o.Stray = e.arrivals.headerRefused, e.arrivals.headerStray
	return listen.Listen(l, o)
}

// protocols are what browsers may choose from, the best first.
func (e *edge) protocols() []string {
	if e.config.Listen.HTTP2 {
		return []string{protocolHTTP2, "http/1.1"}
	}
	return []string{"http/1.1"}
}

func listenError(key, address string, err error) error {
	advice := "choose another address"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another program has this port; stop it or choose another address"
	case errors.Is(err, syscall.EACCES):
		advice = "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this host does not have that address"
	}
	return fmt.Errorf("%s: can't listen on %s: %s (%w)", key, address, advice, err)
}

// serving is what the log says of an edge that has started: where it listens, and
// how much it balances.
func (e *edge) serving() []zap.Field {
	fields := []zap.Field{zap.String("node", e.config.Node.ID), zap.String("address", e.address()), zap.String("version", version)}
	public := "https"
	if e.config.TLS.Off {
		public = "http"
	}
	for _, l := range e.public {
		fields = append(fields, zap.Stringer(public, l.Addr()))
	}
	if e.redirect != nil {
		fields = append(fields, zap.Stringer("http", e.redirect.Addr()))
	}
	if e.admin != nil {
		fields = append(fields, zap.Stringer("admin", e.admin.Addr()))
	}
	return append(fields, zap.Int("pools", len(e.config.Pools)), zap.Int("routes", len(e.config.Routes)))
}

// address is where the edge can be reached from this host: "https://HOST:PORT".
func (e *edge) address() string {
	return e.scheme() + "://" + hostPort(e.public[0].Addr())
}

// hostPort is a listener's address as programs on this host can use it: those
// that listen on all addresses of the host are at none in particular.
func hostPort(address net.Addr) string {
	if a, ok := address.(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		return net.JoinHostPort("localhost", strconv.Itoa(a.Port))
	}
	return address.String()
}

// publicURL is the origin under which the client of r sees this installation.
func (e *edge) publicURL(r *http.Request) string {
	if a := e.config.Node.Advertise; a != "" {
		return strings.TrimSuffix(a, "/")
	}
	return e.scheme() + "://" + r.Host
}

func (e *edge) scheme() string {
	if e.certificates == nil {
		return "http"
	}
	return "https"
}
