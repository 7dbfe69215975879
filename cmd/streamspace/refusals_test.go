package main

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestWhyAnEndpointCannotBeUsedIsSaidInWords: the text is the session's reason.
func TestWhyAnEndpointCannotBeUsedIsSaidInWords(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := closed.Addr().String()
	closed.Close()
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", dead)
	if err == nil {
		t.Fatal("somebody listens")
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&proxy.Refusal{Reason: proxy.VNCRefused, Cause: err}, "connection refused"},
		{&proxy.Refusal{Reason: proxy.VNCRefused, Cause: &net.DNSError{Err: "no such host", Name: "vm-9"}}, "its name can't be resolved: no such host"},
		{&proxy.Refusal{Reason: proxy.VNCSilent, Cause: context.DeadlineExceeded}, "it took too long to answer"},
		{&proxy.Refusal{Reason: proxy.EndpointDenied, Detail: "Port 1 is in no rule of direct.allow."}, "Port 1 is in no rule of direct.allow."},
		{&proxy.Refusal{Reason: proxy.EndpointDenied, Cause: errors.New("the rule x would allow it")}, "the rule x would allow it"},
		{&proxy.Refusal{Reason: proxy.VNCPassword, Cause: &rfb.RefusedError{Security: rfb.SecurityVNCAuth, Reason: "no"}}, `it refused the password: "no"`},
		{&proxy.Refusal{Reason: proxy.NotVNC}, proxy.NotVNC.Info().Words},
	} {
		e, ok := endpointError(dead, c.err).(*store.Error)
		if want := "the VNC server " + dead + " can't be used: " + c.want; !ok || e.Text != want {
			t.Errorf("%v: %v, want %q", c.err, e, want)
		}
	}
}
