package agent

import (
	"context"
	"io"
	"net"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// desktop is one session's VNC server: a process, an endpoint that exists
// already, or the built-in demo. One goroutine at a time calls start, adopt,
// wait and stop; dial and welcome are safe for concurrent use once the session
// runs.
type desktop interface {
	// start returns when the VNC server greets. When it fails, nothing of what
	// it started is left.
	start(ctx context.Context) error
	// adopt takes over what an agent before this one started, when that still
	// greets.
	adopt(ctx context.Context) error
	// wait returns when the VNC server has ended, with why, or with ctx's error.
	wait(ctx context.Context) error
	// dial connects a viewer.
	dial(ctx context.Context) (net.Conn, error)
	// welcome speaks with the viewer for whom dial has gone through the
	// handshake with the VNC server itself; else it does nothing.
	welcome(viewer io.ReadWriter) error
	// stop ends all that belongs to it, also what a start that was cut short or
	// a failed adopt has left.
	stop(ctx context.Context) error
}

// place is what a desktop needs to know of the session that it belongs to. The
// record belongs to whoever calls the desktop's methods.
type place struct {
	session string // its id
	agent   string // the agent's id
	keeper  string // Options.Keeper
	lease   string // the file of the agent's lease, absolute
	dir     string // the session's folder, absolute
	config  RuntimeConfig
	record  *record
	claims  *claims
	log     *zap.Logger
	spawn   func(func(ctx context.Context)) // runs a function until the agent closes
}

func (p place) save() error {
	if err := p.record.save(p.dir); err != nil {
		return tunnel.Errorf(tunnel.CodeUnavailable, "the agent can't write the session's state: %v; look at the disk of its data folder", err)
	}
	return nil
}

// newDesktop makes the session's desktop; nothing runs yet.
func newDesktop(p place) desktop {
	switch p.record.Type {
	case TypeProcess:
		return &processDesktop{place: p}
	case TypeStatic:
		return &staticDesktop{place: p}
	default:
		return &demoDesktop{place: p}
	}
}

// claim checks, before a session is accepted, that it can be started here, and
// takes what only one session can have. The record is filled in.
func claim(ctx context.Context, p place) error {
	switch p.record.Type {
	case TypeProcess:
		return claimPrograms(p)
	case TypeStatic:
		return claimEndpoint(ctx, p)
	default:
		return nil
	}
}
