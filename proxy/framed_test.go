package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// serverFrame is an unmasked frame.
func serverFrame(fin bool, op opcode, payload string) string {
	b := append(make([]byte, headerRoom), payload...)
	start := putHeader(b, op, len(payload))
	if !fin {
		b[start] &^= finBit
	}
	return string(b[start:])
}

// framedServer is a VNC server's end of a WebSocket.
type framedServer struct {
	net.Conn
	t       testing.TB
	decoder decoder
	message []byte // unmasked and not read yet
	control []frame
}

func (f *framedServer) takeControl(op opcode, payload []byte) error {
	f.control = append(f.control, frame{op, bytes.Clone(payload)})
	return nil
}

// fill reads once. The decoder refuses what is not masked.
func (f *framedServer) fill() error {
	b := make([]byte, 4096)
	n, err := f.Conn.Read(b)
	if err != nil {
		return err
	}
	n, err = f.decoder.decode(b[:n], f)
	f.message = append(f.message, b[:n]...)
	return err
}

func (f *framedServer) Read(p []byte) (int, error) {
	for len(f.message) == 0 {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.message)
	f.message = f.message[n:]
	return n, nil
}

// next is the next control frame.
func (f *framedServer) next() frame {
	for len(f.control) == 0 {
		if err := f.fill(); err != nil {
			f.t.Errorf("no control frame: %v", err)
			return frame{}
		}
	}
	next := f.control[0]
	f.control = f.control[1:]
	return next
}

func (f *framedServer) say(text string) { _, _ = io.WriteString(f.Conn, text) }

// handshake is RFB's, up to ServerInit, and ends in mid-message when it says so.
func (f *framedServer) handshake() {
	for _, turn := range []struct {
		say  string
		hear int
	}{
		// One message with a part of each turn: a limited viewer's server may not
		// speak before its turn.
		{serverFrame(false, opBinary, "RFB 00") + serverFrame(false, opContinuation, "") + serverFrame(true, opPing, "early") + serverFrame(false, opContinuation, "3.008\n"), greetingSize},
		{serverFrame(true, opContinuation, "\x01\x01"), 1},
		{serverFrame(true, opBinary, "\x00\x00\x00\x00"), 1}, // then ClientInit
	} {
		f.say(turn.say)
		if _, err := io.ReadFull(f, make([]byte, turn.hear)); err != nil {
			f.t.Errorf("the handshake: %v", err)
		}
	}
	if got := f.next(); got.op != opPong || string(got.payload) != "early" {
		f.t.Errorf("the answer to a ping is %v %q", got.op, got.payload)
	}
}

// startFramed serves what comes after the handshake.
func startFramed(t testing.TB, o Options, serve func(*framedServer), options ...edgeOption) *edge {
	server := startRaw(t, func(conn net.Conn) {
		f := &framedServer{Conn: conn, t: t}
		f.handshake()
		serve(f)
	})
	o.Dial = func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.addr)
		return &Server{Conn: conn, WebSocket: true}, err
	}
	return startEdge(t, o, "", options...)
}

// shakeHands is the viewer's side, up to ClientInit; it reads on to the ping
// that the edge sends once both have greeted.
func (v *rawViewer) shakeHands() {
	v.t.Helper()
	got, pinged := "", false
	for _, step := range []struct {
		says  string
		hears int
	}{{greeting, greetingSize + 2}, {"\x01", greetingSize + 6}} {
		v.write(clientFrame(true, opBinary, []byte(step.says)))
		for len(got) < step.hears || !pinged {
			op, b := v.read()
			if op == opBinary {
				got += string(b)
			}
			pinged = pinged || op == opPing
		}
	}
	if got != greeting+"\x01\x01\x00\x00\x00\x00" {
		v.t.Fatalf("the handshake is %q", got)
	}
	v.write(clientFrame(true, opBinary, []byte{0}))
}

// wantRaw reads bytes of the WebSocket itself.
func (v *rawViewer) wantRaw(want string) {
	v.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(v.r, got); err != nil || string(got) != want {
		at := 0
		for at < n && got[at] == want[at] {
			at++
		}
		v.t.Fatalf("%v; from byte %d of %d it differs: %q, want %q", err, at, len(want), clip(got[at:n]), clip([]byte(want[at:])))
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 60)] }

func TestFramesOfAWebSocketServerPassAsTheyCame(t *testing.T) {
	frames := serverFrame(true, opBinary, "a message") + serverFrame(true, opBinary, "") +
		serverFrame(false, opBinary, "frag") + serverFrame(false, opContinuation, "") + serverFrame(true, opContinuation, "ments") +
		serverFrame(true, opBinary, strings.Repeat("x", 125)) + serverFrame(true, opBinary, strings.Repeat("y", 126)) +
		serverFrame(true, opBinary, strings.Repeat("z", 0x10000)) + serverFrame(false, opBinary, strings.Repeat("w", 70_000))
	controls := serverFrame(true, opPing, "") + serverFrame(true, opPong, "unasked") + serverFrame(true, opPing, strings.Repeat("p", 125))
	last := serverFrame(true, opContinuation, "the end")
	for _, piece := range []int{1, 7, 1000, 1 << 20} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			e := startFramed(t, Options{}, func(f *framedServer) {
				all := frames + controls + last
				for len(all) > 0 {
					n := min(piece, len(all))
					f.say(all[:n])
					all = all[n:]
					if piece == 1 && len(all) > 70_000 && len(all) < 130_000 {
						f.say(all[:len(all)-70_000]) // the long middle in one piece
						all = all[len(all)-70_000:]
					}
					if piece == 1 && len(all) > 300 && len(all) < 70_000 {
						f.say(all[:len(all)-300])
						all = all[len(all)-300:]
					}
				}
				for _, want := range []string{"", strings.Repeat("p", 125)} {
					if got := f.next(); got.op != opPong || string(got.payload) != want {
						t.Errorf("a ping is answered with %x %q", got.op, got.payload)
					}
				}
				_, _ = io.Copy(io.Discard, f.Conn)
			})
			v := e.viewRaw()
			v.shakeHands()
			v.wantRaw(frames + last)
			v.leave([]byte{3, 232})
			v.closed()
			if line := e.ends(1)[0]; line["reason"] != string(ViewerLeft) || line["bytes_to_viewer"].(int64) != 18+9+9+125+126+0x10000+70_000+7 {
				t.Errorf("%v", line)
			}
		})
	}
}

// A message that begins before the RFB handshake is over has no end that the
// viewer was told, so its rest is framed anew.
func TestMessageThatBeganInTheHandshake(t *testing.T) {
	server := startRaw(t, func(conn net.Conn) {
		f := &framedServer{Conn: conn, t: t}
		f.say(serverFrame(false, opBinary, greeting))
		_, _ = io.ReadFull(f, make([]byte, greetingSize))
		f.say(serverFrame(false, opContinuation, "\x01\x01"))
		_, _ = io.ReadFull(f, make([]byte, 1))
		f.say(serverFrame(false, opContinuation, "\x00\x00\x00\x00"))
		_, _ = io.ReadFull(f, make([]byte, 1))
		f.say(serverFrame(false, opContinuation, "init") + serverFrame(true, opContinuation, "!") + serverFrame(false, opBinary, "new"))
		_, _ = io.Copy(io.Discard, conn)
	})
	e := startEdge(t, Options{Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.addr)
		return &Server{Conn: conn, WebSocket: true}, err
	}}, "")
	v := e.viewRaw()
	v.shakeHands()
	v.wantRaw(serverFrame(true, opBinary, "init") + serverFrame(true, opBinary, "!") + serverFrame(false, opBinary, "new"))
}

// Bulk in frames of all sizes arrives byte for byte at viewers that read slowly,
// while pings of both sides are answered in between.
func TestBulkOfAWebSocketServer(t *testing.T) {
	const size = 24 << 20
	for name, options := range map[string][]edgeOption{"plain": nil, "TLS": {withTLS}, "portable": {portable}} {
		t.Run(name, func(t *testing.T) {
			e := startFramed(t, Options{}, func(f *framedServer) {
				source, sizes := randomBytes(5, size), mathrand.New(mathrand.NewPCG(1, 2))
				buf := make([]byte, 3<<20)
				for i := 0; ; i++ {
					n, err := io.ReadFull(source, buf[:sizes.IntN(1<<(5+i%17))+1])
					f.say(serverFrame(true, opBinary, string(buf[:n])))
					if i%10 == 0 {
						f.say(serverFrame(true, opPing, "in between"))
					}
					if err != nil {
						break
					}
				}
				_, _ = io.Copy(io.Discard, f.Conn)
			}, options...)
			c := e.view()
			conn := websocket.NetConn(deadline(t), c, websocket.MessageBinary)
			exchangeGreetings(t, conn)
			for _, step := range []struct {
				read  int
				write string
			}{{2, "\x01"}, {4, "\x00"}} {
				if _, err := io.ReadFull(conn, make([]byte, step.read)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(conn, step.write); err != nil {
					t.Fatal(err)
				}
			}
			got, want := sha256.New(), sha256.New()
			for left := int64(size); left > 0; {
				n, err := io.CopyN(got, conn, min(left, 3<<20))
				if left -= n; err != nil {
					t.Fatalf("%d bytes are missing: %v", left, err)
				}
				time.Sleep(5 * time.Millisecond) // so that sockets fill up now and then
			}
			_, _ = io.Copy(want, randomBytes(5, size))
			if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
				t.Error("the bytes are not the ones that were sent")
			}
		})
	}
}

func TestEndWaitsForTheFrameThatTheViewerHasAPartOf(t *testing.T) {
	for name, c := range map[string]struct {
		rest string // that the server sends after it was asked for
		ends bool   // the connection then
		want Reason // empty: there can be no close frame
	}{
		"the rest comes":         {"rest", false, TakenDown},
		"the rest and more come": {"rest" + serverFrame(true, opBinary, "more"), false, TakenDown},
		"the server ends":        {"re", true, ""},
		"nothing comes":          {"", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan bool), make(chan bool)
			e := startFramed(t, Options{}, func(f *framedServer) {
				f.say(serverFrame(true, opBinary, "begin and rest")[:2+len("begin and ")])
				<-begun
				<-ended
				f.say(c.rest)
				if c.ends {
					return
				}
				if c.want == "" {
					_, _ = io.Copy(io.Discard, f.Conn)
					return
				}
				if got := f.next(); got.op != opClose || len(got.payload) != 2 || binary.BigEndian.Uint16(got.payload) != 1001 {
					t.Errorf("the server is told %x %q", got.op, got.payload)
				}
				_, _ = io.Copy(io.Discard, f.Conn)
			})
			e.times.close = time.Second
			if c.want != "" {
				e.times.close = hang
			}
			v := e.viewRaw()
			v.shakeHands()
			v.wantRaw("\x82\x0ebegin and ")
			close(begun)
			v.write(clientFrame(true, opPing, []byte("mid"))) // has to wait, too
			e.End("session-1", TakenDown)
			eventually(t, "it ends", func() bool { return e.ending("session-1") })
			close(ended)
			if c.want == "" {
				rest, _ := io.ReadAll(v.r)
				if string(rest) != c.rest {
					t.Errorf("the viewer gets %q", rest)
				}
				v.Close()
			} else {
				v.wantRaw("rest")
				v.wantClose(c.want)
			}
			e.wantEnd(TakenDown, phaseRelay)
		})
	}
}

func TestPongWaitsForTheFramesEnd(t *testing.T) {
	more := make(chan bool)
	e := startFramed(t, Options{}, func(f *framedServer) {
		f.say(serverFrame(true, opBinary, "begin and rest")[:2+len("begin and ")])
		_, _ = io.ReadFull(f, make([]byte, 1)) // it came behind the pings
		f.say("rest")
		<-more
	})
	defer close(more)
	v := e.viewRaw()
	v.shakeHands()
	v.wantRaw("\x82\x0ebegin and ")
	v.write(clientFrame(true, opPing, []byte("older")))
	v.write(clientFrame(true, opPing, []byte("newest")))
	v.write(clientFrame(true, opBinary, []byte("x")))
	v.wantRaw("rest" + serverFrame(true, opPong, "newest"))
}

// A viewer that leaves amid a frame gets the rest of it and the answer to its
// close frame, and one that is gone holds nothing up.
func TestViewerThatLeavesAmidAFrame(t *testing.T) {
	for name, stays := range map[string]bool{"politely": true, "at once": false} {
		t.Run(name, func(t *testing.T) {
			left := make(chan bool)
			e := startFramed(t, Options{}, func(f *framedServer) {
				f.say(serverFrame(true, opBinary, "begin and rest")[:2+len("begin and ")])
				<-left
				if stays {
					f.say("rest" + serverFrame(true, opBinary, "more"))
				}
				if got := f.next(); got.op != opClose {
					t.Errorf("the server is told %x %q", got.op, got.payload)
				}
			})
			e.times.close = hang
			v := e.viewRaw()
			v.shakeHands()
			v.wantRaw("\x82\x0ebegin and ")
			if !stays {
				v.Close()
				close(left)
				e.wantEnd(ViewerLost, phaseRelay)
				return
			}
			v.leave(binary.BigEndian.AppendUint16(nil, 1001))
			eventually(t, "it ends", func() bool { return e.ending("session-1") })
			close(left)
			v.wantRaw("rest")
			if code, _ := v.closed(); code != 1001 {
				t.Errorf("closed with %d", code)
			}
			e.wantEnd(ViewerLeft, phaseRelay)
		})
	}
}

// ending tells whether a stream of the session has begun to end.
func (e *edge) ending(session string) bool {
	told := make(chan bool, 1)
	for _, s := range e.viewersOf(session) {
		s.loop.Do(func() { told <- s.ending != nil })
		return <-told
	}
	return false
}

func TestCloseCodesPassBothWays(t *testing.T) {
	for code, want := range map[uint16]uint16{1000: 1000, 1001: 1001, 1011: 1011, 3000: 3000, 4000: 4000, 4401: 4500, 0: 4500} {
		e := startFramed(t, Options{}, func(f *framedServer) {
			payload := ""
			if code != 0 {
				payload = string(binary.BigEndian.AppendUint16(nil, code)) + "4401 is no word of ours"
			}
			f.say(serverFrame(true, opClose, payload))
			got := f.next()
			if answer := max(code, 1); got.op != opClose || code != 0 && binary.BigEndian.Uint16(got.payload) != answer {
				t.Errorf("%d is answered with %x %q", code, got.op, got.payload)
			}
		})
		v := e.viewRaw()
		v.shakeHands()
		if got, text := v.closed(); got != want || !strings.HasPrefix(text, "server_closed: ") || strings.Contains(text, "ours") {
			t.Errorf("%d reaches the viewer as %d %q", code, got, text)
		}
		e.wantEnd(ServerClosed, phaseRelay)
	}
	heard := make(chan []byte, 1)
	e := startFramed(t, Options{}, func(f *framedServer) { heard <- f.next().payload })
	v := e.viewRaw()
	v.shakeHands()
	v.leave(binary.BigEndian.AppendUint16(nil, 3456))
	if got := <-heard; binary.BigEndian.Uint16(got) != 3456 {
		t.Errorf("3456 reaches the server as %q", got)
	}
	v.closed()
}

func TestServerThatBreaksWebSocketsRules(t *testing.T) {
	for name, says := range map[string]string{
		"text":            serverFrame(true, opText, "hello"),
		"masked":          string(clientFrame(true, opBinary, []byte("x"))),
		"reserved bit":    "\xc2\x01x",
		"reserved opcode": "\x83\x01x",
		"long control":    "\x89\x7e\x00\x7e",
		"fragmented ping": "\x09\x00",
		"continuation":    serverFrame(true, opContinuation, "x"),
		"two messages":    serverFrame(false, opBinary, "x") + serverFrame(true, opBinary, "y"),
		"half a code":     serverFrame(true, opClose, "x"),
		"length":          "\x82\x7e\x00\x01x",
	} {
		t.Run(name, func(t *testing.T) {
			e := startFramed(t, Options{}, func(f *framedServer) {
				f.say(serverFrame(true, opBinary, "before") + says)
				_, _ = io.Copy(io.Discard, f.Conn)
			})
			v := e.viewRaw()
			v.shakeHands()
			v.wantRaw(serverFrame(true, opBinary, "before"))
			if name == "two messages" {
				v.wantRaw(serverFrame(false, opBinary, "x"))
			}
			v.wantClose(NotVNC)
			e.wantEnd(NotVNC, phaseRelay)
		})
	}
}

func TestWebSocketServerThatIsNoVNCServer(t *testing.T) {
	for reason, says := range map[Reason]string{
		NotVNC:     serverFrame(true, opBinary, "hello, world"),
		VNCRefused: serverFrame(true, opClose, "\x03\xf3no such host"),
	} {
		server := startRaw(t, func(conn net.Conn) { _, _ = io.WriteString(conn, says); _, _ = io.Copy(io.Discard, conn) })
		e := startEdge(t, Options{Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.addr)
			return &Server{Conn: conn, WebSocket: true}, err
		}}, "")
		v := e.viewRaw()
		if _, text := v.closed(); !strings.HasPrefix(text, string(reason)) {
			t.Errorf("%q, want %s", text, reason)
		}
		e.ends(1)
	}
}

// A viewer that may only look, or not paste, is kept to it; input is told.
func TestRulesForViewersOfAWebSocketServer(t *testing.T) {
	paste := "\x06\x00\x00\x00\x00\x00\x00\x05hello"
	for name, c := range map[string]struct {
		mode   Mode
		block  bool
		passes string
		input  bool
	}{
		"all":      {Control, false, aKey + paste + anUpdate, true},
		"view":     {View, false, anUpdate, false},
		"no paste": {Control, true, aKey + anUpdate, true},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan string, 10)
			heard := make(chan string, 1)
			e := startFramed(t, Options{
				BlockClipboardIn: c.block, Input: func(session string) { told <- session },
				Authorize: func(context.Context, string) (Grant, error) { return Grant{Session: "s", Mode: c.mode}, nil },
			}, func(f *framedServer) {
				all, _ := io.ReadAll(io.LimitReader(f, int64(len(c.passes))))
				f.say(serverFrame(true, opBinary, "done"))
				heard <- string(all)
				_, _ = io.Copy(io.Discard, f.Conn)
			})
			v := e.viewRaw()
			v.shakeHands()
			for _, b := range aKey + paste + anUpdate {
				v.write(clientFrame(true, opBinary, []byte(string(rune(b)))[:1]))
			}
			v.wantRaw(serverFrame(true, opBinary, "done"))
			if got := <-heard; got != c.passes {
				t.Errorf("the server hears %q, want %q", got, c.passes)
			}
			if c.input {
				<-told
			} else if len(told) > 0 {
				t.Error("looking is told as input")
			}
		})
	}
}

// FuzzServerFrames gives any bytes as a server's frames, cut anywhere: what
// passes is a prefix of the data frames that came.
func FuzzServerFrames(f *testing.F) {
	f.Add([]byte(serverFrame(true, opBinary, "one")+serverFrame(true, opPing, "p")+serverFrame(false, opBinary, "two")+serverFrame(true, opContinuation, "")), 3)
	f.Add([]byte(serverFrame(true, opBinary, strings.Repeat("x", 300))), 100)
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00abc"), 1)
	f.Add([]byte(serverFrame(true, opClose, "\x03\xe8bye")+"more"), 2)
	f.Fuzz(func(t *testing.T, says []byte, piece int) {
		whole, ended := splitFrames(t, says, len(says))
		cut, endedToo := splitFrames(t, says, max(piece, 1))
		if whole != cut || ended != endedToo {
			t.Errorf("%q, %v at once; %q, %v in pieces", whole, ended, cut, endedToo)
		}
	})
}

// splitFrames runs a stream's reading of frames without sockets.
func splitFrames(t *testing.T, says []byte, piece int) (passed string, fault bool) {
	f := framed{raw: true}
	var out strings.Builder
	buf := make([]byte, frameRoom+len(says))
	for len(says) > 0 && !fault {
		n := min(piece, len(says))
		at := frameRoom - f.have
		copy(buf[at:], f.held[:f.have])
		copy(buf[frameRoom:], says[:n])
		says = says[n:]
		f.have = 0
		for at < frameRoom+n {
			part, size, err := f.next(buf[at : frameRoom+n])
			if err != nil {
				fault = true
				break
			}
			if part.kind == partHeld {
				break
			}
			if part.kind != partControl {
				out.Write(buf[at : at+size])
			}
			at += size
			if f.left < 0 || f.have > maxHeld {
				t.Fatalf("%+v", f)
			}
		}
	}
	return out.String(), fault
}
