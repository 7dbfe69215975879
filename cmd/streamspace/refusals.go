package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/session"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Here the words of the tunnel and the store become the reasons that a viewer
// is told.

var tunnelReasons = map[tunnel.Code]proxy.Reason{
	tunnel.CodeAgentOffline:  proxy.AgentOffline,
	tunnel.CodeAgentRemoved:  proxy.AgentOffline,
	tunnel.CodeSuperseded:    proxy.AgentOffline,
	tunnel.CodeAgentBusy:     proxy.AgentBusy,
	tunnel.CodeTimeout:       proxy.AgentBusy,
	tunnel.CodeUnavailable:   proxy.AgentBusy,
	tunnel.CodeSessionStarts: proxy.SessionStarts,
	tunnel.CodeVNCRefused:    proxy.VNCRefused,
	tunnel.CodeVNCPassword:   proxy.VNCPassword,
	tunnel.CodeNoSession:     proxy.ServerClosed, // it has just ended there, which the next try will be told
	tunnel.CodeNodeDraining:  proxy.NodeDraining,
	tunnel.CodeNodeFull:      proxy.LimitReached,
}

// refusal is nil for nil, and otherwise the reason behind err. An error that is
// no reason of ours is left for the proxy to tell apart.
func refusal(err error) error {
	var t *tunnel.Error
	var s *store.Error
	var notReady *session.NotReady
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notReady):
		return &proxy.Refusal{Reason: proxy.Reason(notReady.Word), Detail: notReady.Text}
	case errors.As(err, &t):
		reason, known := tunnelReasons[t.Code]
		if !known {
			reason = proxy.Internal
		}
		return &proxy.Refusal{Reason: reason, Cause: err}
	case errors.As(err, &s) && s.Code == store.NotFound:
		return &proxy.Refusal{Reason: proxy.NoSuchSession}
	case errors.As(err, &s) && s.Code == store.Unavailable:
		return &proxy.Refusal{Reason: proxy.Unavailable, Detail: s.Text, Cause: s.Cause}
	default:
		return err
	}
}

// ticketRefusal is the reason why a ticket opens nothing.
func ticketRefusal(err error) error {
	if errors.Is(err, auth.ErrExpiredTicket) {
		return &proxy.Refusal{Reason: proxy.ExpiredTicket}
	}
	return &proxy.Refusal{Reason: proxy.BadTicket}
}

// endpointError is why a session can't have its endpoint, in words for its
// owner.
func endpointError(endpoint string, err error) error {
	var number syscall.Errno
	var name *net.DNSError
	var timeout interface{ Timeout() bool }
	var login *rfb.RefusedError
	var refused *proxy.Refusal
	text := err.Error()
	switch {
	case errors.As(err, &name):
		text = "its name can't be resolved: " + name.Err
	case errors.As(err, &number):
		text = number.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		text = "it took too long to answer"
	case errors.As(err, &login):
		text = strings.Replace(login.Error(), "the VNC server ", "it ", 1) // as of an agent's endpoint
	case errors.As(err, &refused):
		text = refusedWords(refused)
	}
	return &store.Error{Code: store.Unavailable, Text: fmt.Sprintf("the VNC server %s can't be used: %s", endpoint, text), Cause: err}
}

// refusedWords are for who may name an endpoint, and so may learn which rule
// would allow it.
func refusedWords(r *proxy.Refusal) string {
	if r.Detail == "" && r.Reason == proxy.EndpointDenied && r.Cause != nil {
		return r.Cause.Error()
	}
	return r.Words()
}
