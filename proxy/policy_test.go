package proxy

import (
	"bytes"
	"context"
	"image"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// What viewers say in these tests, and what it is.
var (
	encodings = rfb.AppendSetEncodings(nil, rfb.EncodingZRLE, rfb.EncodingRaw)
	wants     = rfb.UpdateRequest{Incremental: true, Area: image.Rect(0, 0, 8, 8)}.Append(nil)
	key       = rfb.KeyEvent{Down: true, Key: 'x'}.Append(nil)
	pointer   = rfb.PointerEvent{At: image.Pt(3, 4)}.Append(nil)
	paste     = rfb.AppendCutText(nil, bytes.Repeat([]byte("pasted "), 50))
	unknown   = []byte{0x7F, 1, 2, 3}
)

// startRFB is a VNC server that offers one security type, goes through the rest
// of the handshake when that is None, and then serves.
func startRFB(t testing.TB, security rfb.SecurityType, serve func(conn net.Conn, init byte)) *vncServer {
	return startVNC(t, func(conn net.Conn) {
		var b [1]byte
		_, _ = conn.Write(rfb.AppendSecurityTypes(nil, security))
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return
		}
		if security == rfb.SecurityNone {
			_, _ = conn.Write(rfb.AppendSecurityResult(nil, rfb.SecurityOK))
			if _, err := io.ReadFull(conn, b[:]); err != nil {
				return
			}
			_, _ = conn.Write(rfb.ServerInit{Width: 8, Height: 8, Name: "test"}.Append(nil))
		}
		serve(conn, b[0])
	})
}

// enter goes through the handshake with a server of startRFB, alone on it.
func enter(t testing.TB, conn net.Conn) {
	t.Helper()
	var offer [2]byte
	if _, err := io.ReadFull(conn, offer[:]); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte{offer[1]})
	var result [4]byte
	if _, err := io.ReadFull(conn, result[:]); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(rfb.ClientInit{}.Append(nil))
	if _, err := rfb.ReadServerInit(conn); err != nil {
		t.Fatal(err)
	}
}

// enterRaw is enter for a viewer that speaks by hand.
func enterRaw(v *rawViewer) {
	v.t.Helper()
	for _, say := range [][]byte{{byte(rfb.SecurityNone)}, rfb.ClientInit{}.Append(nil), nil} {
		if op, b := v.frame(); op != opBinary {
			v.t.Fatalf("frame %x %q", op, b)
		}
		if say != nil {
			v.write(clientFrame(true, opBinary, say))
		}
	}
}

func granting(mode Mode) func(context.Context, string) (Grant, error) {
	return func(context.Context, string) (Grant, error) { return Grant{Session: "session-1", Mode: mode}, nil }
}

func TestViewersAreKeptToWhatTheyMayDo(t *testing.T) {
	said := bytes.Join([][]byte{encodings, key, wants, paste, pointer, wants}, nil)
	for _, c := range []struct {
		name    string
		options Options
		shared  byte // what the server hears in ClientInit, which the viewer sent as 0
		passes  []byte
		input   bool
	}{
		{"control", Options{Authorize: granting(Control)}, 0, said, true},
		{"view", Options{Authorize: granting(View)}, 1, bytes.Join([][]byte{encodings, wants, wants}, nil), false},
		{"no clipboard", Options{Authorize: granting(Control), BlockClipboardIn: true}, 0, bytes.Join([][]byte{encodings, key, wants, pointer, wants}, nil), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			transports(t, func(t *testing.T, options ...edgeOption) {
				for _, size := range []int{len(said), 100, 1} {
					heard := make(chan []byte, 1)
					server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, init byte) {
						b, _ := io.ReadAll(conn)
						heard <- append([]byte{init}, b...)
					})
					told := make(chan string, 100)
					o := c.options
					o.Input = func(session string) { told <- session }
					e := startEdge(t, o, server.addr, options...)
					conn, ws := e.viewStream()
					enter(t, conn)
					for piece := range slices.Chunk(said, size) {
						if _, err := conn.Write(piece); err != nil {
							t.Fatal(err)
						}
					}
					_ = ws.Close(1000, "")
					got := <-heard
					if got[0] != c.shared || !bytes.Equal(got[1:], c.passes) {
						t.Fatalf("in pieces of %d: the server heard %d bytes with shared %d, want %d with %d", size, len(got)-1, got[0], len(c.passes), c.shared)
					}
					e.ends(1)
					select {
					case session := <-told:
						if !c.input || session != "session-1" {
							t.Fatalf("input of %q is told", session)
						}
					default:
						if c.input {
							t.Fatal("no input is told")
						}
					}
				}
			})
		})
	}
}

func TestWhoCanNotBeKeptToItIsRefused(t *testing.T) {
	const veNCrypt = 19
	for _, mode := range []Mode{Control, View} {
		t.Run(string(mode)+" of a server that hides what is said", func(t *testing.T) {
			server := startRFB(t, veNCrypt, func(conn net.Conn, chosen byte) { echo(conn) })
			e := startEdge(t, Options{Authorize: granting(mode)}, server.addr)
			v := e.viewRaw()
			v.exchangeGreetings()
			if op, b := v.frame(); op != opBinary || !bytes.Equal(b, []byte{1, veNCrypt}) {
				t.Fatalf("frame %x %q", op, b)
			}
			v.write(clientFrame(true, opBinary, []byte{veNCrypt}))
			if mode == View {
				v.wantClose(Unenforceable)
				return
			}
			v.write(clientFrame(true, opBinary, unknown))
			if op, b := v.frame(); op != opBinary || !bytes.Equal(b, unknown) {
				t.Fatalf("frame %x %q", op, b)
			}
			v.leave(nil)
			v.wantClose(ViewerLeft)
		})
		t.Run(string(mode)+" with a message that nobody knows", func(t *testing.T) {
			heard := make(chan []byte, 1)
			server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, _ byte) {
				b, _ := io.ReadAll(conn)
				heard <- b
			})
			e := startEdge(t, Options{Authorize: granting(mode)}, server.addr)
			conn, ws := e.viewStream()
			enter(t, conn)
			_, _ = conn.Write(slices.Concat(wants, unknown))
			want, reason := slices.Concat(wants, unknown), ViewerLeft
			if mode == View {
				want, reason = nil, Unenforceable
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					t.Error("the stream goes on")
				}
			}
			_ = ws.Close(1000, "")
			if got := <-heard; !bytes.Equal(got, want) {
				t.Errorf("the server heard %x, not %x", got, want)
			}
			e.wantEnd(reason, phaseRelay)
		})
	}
}

func TestInputIsToldOnceASecondAtMost(t *testing.T) {
	server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, _ byte) { echo(conn) })
	told := make(chan string, 100)
	e := startEdge(t, Options{Input: func(session string) { told <- session }}, server.addr)
	conn, _ := e.viewStream()
	enter(t, conn)
	begin := time.Now()
	for range 50 {
		_, _ = conn.Write(key)
		if _, err := io.ReadFull(conn, make([]byte, len(key))); err != nil {
			t.Fatal(err)
		}
	}
	most := 1 + int(time.Since(begin)/inputEvery)
	<-told
	if n := 1 + len(told); n > most {
		t.Errorf("told %d times, want %d at most", n, most)
	}
}
