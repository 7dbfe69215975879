package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

const probeLimit = 3 * time.Second // for an endpoint to greet

// staticDesktop is an endpoint that exists already. It neither starts nor ends
// with its session, and it may be away for a while: then viewers are refused.
type staticDesktop struct{ place }

// claimEndpoint takes the first free endpoint that greets, of those with the
// name that was asked for.
func claimEndpoint(ctx context.Context, p place) error {
	var refused *tunnel.Error
	hopeless := true // only another password would help
	asked := p.record.Endpoint
	for _, e := range p.config.Endpoints {
		if asked != "" && e.Name != asked {
			continue
		}
		if !p.claims.take(endpointClaim(e.Address), p.session) {
			hopeless = false
			continue
		}
		limited, cancel := context.WithTimeout(ctx, probeLimit)
		err := e.check(limited)
		cancel()
		if err == nil {
			p.record.Address, p.record.Endpoint = e.Address, e.Name
			return nil
		}
		p.claims.release(p.session)
		hopeless = hopeless && dialCode(err) == tunnel.CodeVNCPassword
		refused = tunnel.Errorf(tunnel.CodeVNCRefused, "the VNC server %s can't be used: %s", e.called(), whyNot(err))
	}
	if refused != nil {
		if hopeless {
			refused.Code = tunnel.CodeVNCPassword
		}
		return refused
	}
	if asked != "" {
		return tunnel.Errorf(tunnel.CodeNoRoom, "another session has the endpoint %s; end that one", asked)
	}
	return tunnel.Errorf(tunnel.CodeNoRoom, "all %d endpoints of the runtime %s are in use; add one to endpoints, or end a session", len(p.config.Endpoints), p.config.Name)
}

// called is what users know the endpoint by: addresses are the operator's.
func (e Endpoint) called() string {
	if e.Name == "" {
		return e.Address
	}
	return e.Name
}

// whyNot is the error in words that name no address.
func whyNot(err error) string {
	words := strings.Replace(err.Error(), "the VNC server ", "it ", 1)
	var network *net.OpError
	if errors.As(err, &network) {
		words = strings.Replace(words, network.Error(), inWords(network).Error(), 1)
	}
	return words
}

func endpointClaim(address string) string { return "endpoint " + address }

func (d *staticDesktop) start(ctx context.Context) error { return d.endpoint().check(ctx) }

func (d *staticDesktop) adopt(context.Context) error { return nil }

func (d *staticDesktop) wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (d *staticDesktop) dial(ctx context.Context) (net.Conn, error) {
	return d.endpoint().dial(ctx)
}

func (d *staticDesktop) welcome(viewer io.ReadWriter) error {
	if !d.endpoint().welcomes() {
		return nil
	}
	_, err := rfb.Welcome(viewer)
	return err
}

// endpoint is the session's as the config has it now. An agent that came back
// may find it there no more; its address is kept with the session.
func (d *staticDesktop) endpoint() Endpoint {
	for _, e := range d.config.Endpoints {
		if e.Address == d.record.Address {
			return e
		}
	}
	return Endpoint{Address: d.record.Address}
}

func (d *staticDesktop) stop(context.Context) error { return nil }
