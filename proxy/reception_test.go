package proxy

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// loggedIn dials servers that wait for ClientInit already.
func loggedIn(addr string) func(context.Context, Grant, string) (net.Conn, error) {
	return func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		return &Server{Conn: conn, Welcome: true}, err
	}
}

// recorder keeps all that comes and echoes it.
func recorder(t *testing.T) (server *vncServer, heard <-chan string) {
	all := make(chan string, 1)
	return startRaw(t, func(conn net.Conn) {
		var b strings.Builder
		_, _ = io.Copy(conn, io.TeeReader(conn, &b))
		all <- b.String()
	}), all
}

// A key and an update request behind ClientInit, of which a viewer that only
// looks may send the latter.
var (
	aKey     = string(rfb.KeyEvent{Down: true, Key: 'x'}.Append(nil))
	anUpdate = string(rfb.UpdateRequest{}.Append(nil))
)

func TestViewerOfALoggedInServerIsWelcomed(t *testing.T) {
	for version, choice := range map[string]string{greeting: "\x01", "RFB 003.007\n": "\x01", "RFB 003.003\n": ""} {
		for mode, passes := range map[Mode]string{Control: "\x00" + aKey + anUpdate, View: "\x01" + anUpdate} {
			for _, piece := range []int{1, 5, 1000} {
				server, heard := recorder(t)
				e := startEdge(t, Options{Dial: loggedIn(server.addr), Authorize: func(context.Context, string) (Grant, error) {
					return Grant{Session: "s", Mode: mode}, nil
				}}, "")
				v := e.viewRaw()
				says := version + choice + "\x00" + aKey + anUpdate
				for len(says) > 0 { // without a wait for any answer
					n := min(piece, len(says))
					v.write(clientFrame(true, opBinary, []byte(says[:n])))
					says = says[n:]
				}
				want := greeting + "\x01\x01\x00\x00\x00\x00"
				switch version {
				case "RFB 003.007\n":
					want = greeting + "\x01\x01"
				case "RFB 003.003\n":
					want = greeting + "\x00\x00\x00\x01"
				}
				want += passes
				got := ""
				for len(got) < len(want) {
					if op, b := v.frame(); op == opBinary {
						got += string(b)
					}
				}
				if got != want {
					t.Errorf("%q, %s, %d bytes at a time: the viewer hears %q, not %q", version, mode, piece, got, want)
				}
				v.leave([]byte{3, 232})
				v.closed()
				if got := <-heard; got != passes {
					t.Errorf("%q, %s, %d bytes at a time: the server hears %q, not %q", version, mode, piece, got, passes)
				}
				e.wantEnd(ViewerLeft, phaseRelay)
			}
		}
	}
}

func TestViewerThatWantsOtherSecurityThanNoneIsTold(t *testing.T) {
	server, heard := recorder(t)
	e := startEdge(t, Options{Dial: loggedIn(server.addr)}, "")
	v := e.viewRaw()
	v.write(clientFrame(true, opBinary, []byte(greeting+"\x02\x01")))
	got := ""
	for !strings.Contains(got, "chose VNC authentication, which was not offered") {
		if op, b := v.frame(); op == opBinary {
			got += string(b)
		}
	}
	v.wantClose(ViewerNotVNC)
	if got := <-heard; got != "" {
		t.Errorf("the server hears %q", got)
	}
	e.wantEnd(ViewerNotVNC, phaseRelay)
}

func TestServerThatEndsOrSpeaksBeforeClientInit(t *testing.T) {
	for reason, serve := range map[Reason]func(net.Conn){
		ServerClosed: func(net.Conn) {},
		NotVNC:       func(c net.Conn) { _, _ = io.WriteString(c, "unasked"); _, _ = io.Copy(io.Discard, c) },
	} {
		e := startEdge(t, Options{Dial: loggedIn(startRaw(t, serve).addr)}, "")
		e.viewRaw().wantClose(reason)
		e.ends(1)
	}
}

func TestWelcomedViewerMayNotStayInTheHandshake(t *testing.T) {
	server, _ := recorder(t)
	e := startEdge(t, Options{Dial: loggedIn(server.addr)}, "", func(e *edge, _ *Options) {})
	e.times.viewerGreeting = 0
	v := e.viewRaw()
	v.wantClose(ViewerNotVNC)
	e.ends(1)
}
