package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

func TestEveryReasonHasItsRow(t *testing.T) {
	seen := make(map[Reason]bool)
	ours := make(map[uint16]Reason)
	for _, info := range Reasons() {
		text := closeText(&Refusal{Reason: info.Reason})
		switch {
		case seen[info.Reason]:
			t.Errorf("%s is there twice", info.Reason)
		case !validCloseCode(info.Close):
			t.Errorf("%s: close code %d may not be sent", info.Reason, info.Close)
		case info.Close >= 4000 && ours[info.Close] != "":
			t.Errorf("%s and %s share %d", info.Reason, ours[info.Close], info.Close)
		case info.Status < 400 || info.Status > 599:
			t.Errorf("%s: status %d", info.Reason, info.Status)
		case text != string(info.Reason)+": "+info.Words || len(text) > maxControl-2:
			t.Errorf("%s: %d bytes of text %q", info.Reason, len(text), text)
		case info.By != ByViewer && info.By != ByServer && info.By != ByEdge:
			t.Errorf("%s: by %q", info.Reason, info.By)
		}
		seen[info.Reason], ours[info.Close] = true, info.Reason
	}
	if info := Reason("new_word").Info(); info.Close != 1011 || info.Reason != "new_word" {
		t.Errorf("a word that is not in the table: %+v", info)
	}
}

func TestLongWordsAreCutBetweenCharacters(t *testing.T) {
	for n := range 200 {
		text := closeText(&Refusal{Reason: VNCRefused, Detail: strings.Repeat("x", n) + strings.Repeat("ü漢", 40) + "\xff"})
		if len(text) > maxControl-2 || !utf8.ValidString(text) {
			t.Fatalf("%d bytes: %q", len(text), text)
		}
	}
}

func TestDialFailuresCloseWithWords(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want Reason
	}{
		"agent offline":     {&Refusal{Reason: AgentOffline}, AgentOffline},
		"agent busy":        {&Refusal{Reason: AgentBusy}, AgentBusy},
		"session starting":  {&Refusal{Reason: SessionStarts}, SessionStarts},
		"session ended":     {&Refusal{Reason: SessionEnded}, SessionEnded},
		"no such session":   {&Refusal{Reason: NoSuchSession}, NoSuchSession},
		"not allowed":       {&Refusal{Reason: EndpointDenied}, EndpointDenied},
		"wrapped":           {fmt.Errorf("open: %w", &Refusal{Reason: VNCRefused}), VNCRefused},
		"connection refuse": {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, VNCRefused},
		"no route":          {&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, VNCRefused},
		"timeout":           {context.DeadlineExceeded, VNCSilent},
		"anything else":     {errors.New("secret words"), Internal},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t, Options{Dial: func(context.Context, Grant, string) (net.Conn, error) { return nil, test.err }}, "")
			v := e.viewRaw()
			code, text := v.closed()
			if info := test.want.Info(); code != info.Close || text != string(test.want)+": "+info.Words {
				t.Errorf("%d %q", code, text)
			}
			e.wantEnd(test.want, phaseDial)
		})
	}
}

func TestWhatAnswersIsCheckedBeforeTheViewerSeesIt(t *testing.T) {
	for name, test := range map[string]struct {
		serve  func(net.Conn)
		reason Reason
	}{
		"SSH":                    {func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); _, _ = io.Copy(io.Discard, c) }, NotVNC},
		"HTTP":                   {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, NotVNC},
		"half a greeting":        {func(c net.Conn) { _, _ = io.WriteString(c, "RFB 00") }, NotVNC},
		"almost a greeting":      {func(c net.Conn) { _, _ = io.WriteString(c, "RFB 003.00x\n"); _, _ = io.Copy(io.Discard, c) }, NotVNC},
		"nothing":                {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, VNCSilent},
		"half, then nothing":     {func(c net.Conn) { _, _ = io.WriteString(c, "RFB"); _, _ = io.Copy(io.Discard, c) }, NotVNC},
		"an immediate farewell":  {func(c net.Conn) {}, VNCRefused},
		"a reset":                {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, VNCRefused},
		"a greeting, then reset": {func(c net.Conn) { _ = greetAsServer(c); _ = c.(*net.TCPConn).SetLinger(0) }, ServerReset},
	} {
		t.Run(name, func(t *testing.T) {
			dialled := make(chan struct{}) // a reset before that would be the dial's own
			server := startRaw(t, func(c net.Conn) { <-dialled; test.serve(c) })
			e := startEdge(t, Options{Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
				defer close(dialled)
				return (&net.Dialer{}).DialContext(ctx, "tcp", server.addr)
			}}, server.addr)
			e.times.serverGreeting = 200 * time.Millisecond
			v := e.viewRaw()
			if test.reason == ServerReset {
				v.exchangeGreetings()
				v.wantClose(test.reason)
				return
			}
			op, b := v.frame()
			if code, text, _ := parseClose(b); op != opClose || code != test.reason.Info().Close || !strings.HasPrefix(text, string(test.reason)) {
				t.Fatalf("frame %x %q, not %s", op, b, test.reason)
			}
			v.leave(b[:2])
			v.Close()
			e.wantEnd(test.reason, phaseHandshake)
		})
	}
}

// TestWhoCarriesTheStreamMaySayWhyItEnds: Server.Ended comes before what the
// proxy makes of the end itself.
func TestWhoCarriesTheStreamMaySayWhyItEnds(t *testing.T) {
	for name, test := range map[string]struct {
		says  Reason
		reset bool
		want  Reason
	}{
		"a reset has another reason":  {NodeDraining, true, NodeDraining},
		"an end has another reason":   {NodeDraining, false, NodeDraining},
		"a reset is the VNC server's": {"", true, ServerReset},
		"an end is the VNC server's":  {"", false, ServerClosed},
	} {
		t.Run(name, func(t *testing.T) {
			greeted := make(chan struct{})
			server := startRaw(t, func(c net.Conn) {
				_ = greetAsServer(c)
				<-greeted
				if test.reset {
					_ = c.(*net.TCPConn).SetLinger(0)
				}
			})
			causes := make(chan error, 1)
			e := startEdge(t, Options{Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.addr)
				return &Server{Conn: conn, Ended: func(cause error) Reason {
					causes <- cause
					return test.says
				}}, err
			}}, server.addr)
			v := e.viewRaw()
			v.exchangeGreetings()
			close(greeted)
			v.wantClose(test.want)
			if cause := <-causes; (cause == io.EOF) == test.reset {
				t.Errorf("it is told %v", cause)
			}
		})
	}
}

// hostile sends b to a stream of an echoing server and tells what the server
// received behind the greeting when all was over.
func hostile(t *testing.T, b []byte, reason Reason, greet bool) []byte {
	t.Helper()
	received := make(chan []byte, 1)
	server := startRaw(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, greeting)
		b, _ := io.ReadAll(conn)
		received <- b
	})
	e := startEdge(t, Options{}, server.addr)
	v := e.viewRaw()
	if greet {
		v.exchangeGreetings()
	} else {
		v.frame()
	}
	v.write(b)
	v.wantClose(reason)
	at := phaseRelay
	if !greet {
		at = phaseHandshake
	}
	e.wantEnd(reason, at)
	return <-received
}

func TestFrameOf2To63Bytes(t *testing.T) {
	header := func(n uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{0x82, 0xFF}, n), 1, 2, 3, 4)
	}
	t.Run("2^63", func(t *testing.T) { hostile(t, header(1<<63), ProtocolError, true) })
	t.Run("2^63-1", func(t *testing.T) { hostile(t, header(1<<63-1), MessageTooBig, true) })
	t.Run("with bytes behind", func(t *testing.T) {
		hostile(t, append(header(1<<63), make([]byte, 1<<20)...), ProtocolError, true)
	})
}

func TestTextFrameWhereRFBIsExpected(t *testing.T) {
	got := hostile(t, append(clientFrame(true, opBinary, []byte("good")), clientFrame(true, opText, []byte("hello"))...), TextFrame, true)
	if string(got) != greeting+"good" {
		t.Errorf("the server received %q", got)
	}
	hostile(t, clientFrame(true, opText, []byte(greeting)), TextFrame, false)
}

func TestGarbageWhereRFBIsExpected(t *testing.T) {
	if got := hostile(t, clientFrame(true, opBinary, []byte("GET / HTTP/1.1\r\n\r\n")), ViewerNotVNC, false); len(got) > 0 {
		t.Errorf("the server received %q", got)
	}
	t.Run("bytes that are no frames", func(t *testing.T) { hostile(t, []byte("GET / HTTP/1.1\r\n\r\n"), ProtocolError, false) })
	t.Run("frame without a mask", func(t *testing.T) { hostile(t, []byte{0x82, 0x01, 'x'}, ProtocolError, true) })
	t.Run("close code 1005", func(t *testing.T) { hostile(t, clientFrame(true, opClose, []byte{0x03, 0xED}), ProtocolError, true) })
}

func TestViewerThatNeverGreets(t *testing.T) {
	server := startVNC(t, echo)
	e := startEdge(t, Options{}, server.addr)
	e.times.viewerGreeting = 100 * time.Millisecond
	e.viewRaw().wantClose(ViewerNotVNC)
	e.wantEnd(ViewerNotVNC, phaseHandshake)
}

func TestViewerThatLeavesDuringTheDialEndsIt(t *testing.T) {
	dialling := make(chan struct{})
	e := startEdge(t, Options{Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, "")
	v := e.viewRaw()
	<-dialling
	v.leave(nil)
	v.closed()
	e.wantEnd(ViewerLeft, phaseDial)
}

// TestServerHearsTheLastWordsBehindWhatItStillSends: more of that may be on its
// way than one socket buffer holds, and none of it has a reader any more.
func TestServerHearsTheLastWordsBehindWhatItStillSends(t *testing.T) {
	words := pattern(512 << 10) // more than the server's own buffer holds, less than the edge's
	transports(t, func(t *testing.T, options ...edgeOption) {
		heard := make(chan []byte, 1)
		server := startVNC(t, func(conn net.Conn) {
			_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			var all bytes.Buffer
			_, _ = io.CopyN(&all, conn, 1)
			_, _ = conn.Write(make([]byte, 40<<20))
			_, _ = io.Copy(&all, conn)
			heard <- all.Bytes()
		})
		e := startEdge(t, Options{}, server.addr, options...)
		v := e.viewRaw()
		v.exchangeGreetings()
		v.write(clientFrame(true, opBinary, words))
		v.leave([]byte{0x03, 0xE8})
		if got := <-heard; !bytes.Equal(got, words) {
			t.Errorf("the server heard %s of %s", shown(got), shown(words))
		}
	})
}

func TestEndClosesAllViewersOfOneSession(t *testing.T) {
	server := startVNC(t, echo)
	var mu sync.Mutex
	told := make(map[string]int)
	e := startEdge(t, Options{
		Authorize: func(_ context.Context, token string) (Grant, error) { return Grant{Session: token}, nil },
		Activity: func(session string, viewers int) {
			mu.Lock()
			told[session] = viewers
			mu.Unlock()
		},
	}, server.addr)
	open := func(session string) *rawViewer {
		head := strings.Replace(request(goodHeaders()...), ticket, session, 1)
		v, _ := e.send(head)
		v.exchangeGreetings()
		return v
	}
	a1, a2, b := open("a"), open("a"), open("b")
	if e.Viewers("a") != 2 || e.Viewers("b") != 1 || e.Viewers("c") != 0 || e.Active() != 3 {
		t.Errorf("%d, %d, %d viewers", e.Viewers("a"), e.Viewers("b"), e.Viewers("c"))
	}
	if n := e.counter("streamspace_vnc_connections_active", ""); n != 3 {
		t.Errorf("the metric counts %v viewers", n)
	}
	e.End("a", SessionEnded)
	e.End("a", TakenDown) // the first reason stands
	a1.wantClose(SessionEnded)
	a2.wantClose(SessionEnded)
	b.write(clientFrame(true, opBinary, []byte("still here")))
	if _, got := b.frame(); string(got) != "still here" {
		t.Errorf("%q", got)
	}
	eventually(t, "the count falls", func() bool { return e.Active() == 1 })
	e.End("b", Reason("new_word"))
	if code, text := b.closed(); code != 1011 || !strings.HasPrefix(text, "new_word: ") {
		t.Errorf("%d %q", code, text)
	}
	eventually(t, "activity is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told["a"] == 0 && told["b"] == 0 && len(told) == 2
	})
	if n := e.counter("streamspace_vnc_open_seconds", ""); n != 1 {
		t.Errorf("%v streams had a first byte", n)
	}
}

func TestEndFreesTheStreamOfAStalledViewer(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		server, written := startRandom(t)
		e := startEdge(t, Options{}, server.addr, options...)
		e.times.close = 300 * time.Millisecond
		v := e.viewRaw()
		v.exchangeGreetings()
		v.write(clientFrame(true, opBinary, streamRequest(1, 1<<40)))
		last := int64(-1)
		eventually(t, "the stream stands still", func() bool {
			now := written(1)
			still := now == last && now > 0
			last = now
			time.Sleep(50 * time.Millisecond)
			return still
		})
		e.End("session-1", TakenDown)
		e.wantEnd(TakenDown, phaseRelay)
	})
}

func TestDrainSpreadsTheFarewells(t *testing.T) {
	const viewers, window = 10, time.Second
	server := startVNC(t, echo)
	e := startEdge(t, Options{}, server.addr)
	var all []*rawViewer
	for range viewers {
		v := e.viewRaw()
		v.exchangeGreetings()
		all = append(all, v)
	}
	begin := time.Now()
	drained := make(chan time.Duration)
	go func() {
		e.Drain(deadline(t), window)
		drained <- time.Since(begin)
	}()
	var group sync.WaitGroup
	at := make([]time.Duration, viewers)
	for i, v := range all {
		group.Go(func() {
			code, _ := v.closed()
			at[i] = time.Since(begin)
			if code != 1012 {
				t.Errorf("code %d", code)
			}
		})
	}
	eventually(t, "new viewers are refused", func() bool { return e.refuses() != nil })
	_, response := e.send(request(goodHeaders()...))
	wantProblem(t, response, NodeDraining)
	group.Wait()
	<-drained
	early := 0
	for _, d := range at {
		if d < window/2 {
			early++
		}
	}
	// A slow machine can only make farewells later, never sooner.
	if early > viewers/2 {
		t.Errorf("%d of %d left in the first half: %v", early, viewers, at)
	}
	if e.Active() != 0 {
		t.Errorf("%d viewers are left", e.Active())
	}
}

func TestCloseCutsWhatDoesNotLeaveInTime(t *testing.T) {
	server, written := startRandom(t)
	e := startEdge(t, Options{}, server.addr)
	e.times.close = hang
	v := e.viewRaw()
	v.exchangeGreetings()
	v.write(clientFrame(true, opBinary, streamRequest(1, 1<<40)))
	eventually(t, "the stream flows", func() bool { return written(1) > 1<<20 })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "1 viewers") {
		t.Errorf("%v", err)
	}
	e.wantEnd(NodeDraining, phaseRelay)
}

// TestADrainIsTakenBack: those whom it has not reached stay, and others come.
func TestADrainIsTakenBack(t *testing.T) {
	server := startVNC(t, echo)
	e := startEdge(t, Options{}, server.addr)
	e.Resume() // nothing is to be undone
	for range 2 {
		stays := e.viewRaw()
		stays.exchangeGreetings()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		e.Drain(ended, time.Hour)
		_, response := e.send(request(goodHeaders()...))
		wantProblem(t, response, NodeDraining)
		e.Resume()
		comes := e.viewRaw()
		comes.exchangeGreetings()

		e.Drain(deadline(t), 0) // waits until both have gone
		if e.Active() != 0 {
			t.Fatalf("%d viewers are left", e.Active())
		}
		for _, v := range []*rawViewer{stays, comes} {
			if code, _ := v.closed(); code != 1012 {
				t.Errorf("code %d", code)
			}
		}
		e.Resume()
	}
	if err := e.Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	e.Resume()
	if e.refuses() == nil {
		t.Error("it takes viewers after Close")
	}
}
