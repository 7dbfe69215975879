package demo

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

func TestBrokenProtocolEndsTheViewerAndIsNamed(t *testing.T) {
	wrongFormat := rfb.RGB888()
	wrongFormat.BitsPerPixel = 24
	for want, said := range map[string][]byte{
		"unknown client message type 77":   {77},
		"unknown client message type 1":    {1, 0, 0, 0, 0, 0},
		"unknown client message type 71":   []byte("GET / HTTP/1.1\r\n\r\n"),
		"unknown QEMU client message 255/": {255, 7},
		"24 bits per pixel":                rfb.AppendSetPixelFormat(nil, wrongFormat),
	} {
		c := connect(t, small())
		go func() { _, _ = c.conn.Write(said) }()
		_, _ = io.Copy(io.Discard, c.in)
		if err := c.leave(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q in it", said, err, want)
		}
	}
}

func TestMessageCutShortIsNotLeaving(t *testing.T) {
	c := connect(t, small())
	c.send([]byte{byte(rfb.KindKeyEvent), 1, 0})
	if err := c.leave(); err == nil || !strings.Contains(err.Error(), "middle of a message") {
		t.Errorf("%v", err)
	}
}

func TestMessagesOfExtensionsAreSkipped(t *testing.T) {
	c := connect(t, small())
	c.send([]byte{150, 1, 0, 0, 0, 0, 1, 0, 1, 0})             // EnableContinuousUpdates
	c.send([]byte{248, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'}) // ClientFence
	c.send([]byte{250, 0, 1, 2})                               // xvp
	c.send([]byte{255, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 30})    // QEMU extended key event
	c.refresh(false)
	if err := c.leave(); err != nil {
		t.Error(err)
	}
}

func TestHugeMessagesAreSkippedInBoundedMemory(t *testing.T) {
	s := small()
	c := connect(t, s)
	c.refresh(false)
	s.desktop.mu.Lock()
	v := s.desktop.viewers[0]
	s.desktop.mu.Unlock()
	c.send([]byte{byte(rfb.KindSetEncodings), 0, 0xff, 0xff})
	c.send(make([]byte, 4*0xffff))
	const text = 64 << 20
	c.send([]byte{byte(rfb.KindCutText), 0, 0, 0, text >> 24, 0, 0, 0})
	chunk := make([]byte, 1<<20)
	for range text / len(chunk) {
		c.send(chunk)
	}
	c.send([]byte{byte(rfb.KindCutText), 0, 0, 0, 0x80, 0, 0, 0}) // 2 GB of extended clipboard
	for range 8 {
		c.send(chunk)
	}
	if err := c.leave(); err == nil || !strings.Contains(err.Error(), "middle of a message") {
		t.Errorf("%v", err)
	}
	if cap(v.message) > 2*maxMessage || len(s.desktop.clipboard) > 2*maxClipboard {
		t.Errorf("held %d bytes of a message and %d of text", cap(v.message), len(s.desktop.clipboard))
	}
}

func TestServeEndsWithItsContextAndTakesAllViewersAlong(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := small()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	var conns []net.Conn
	for range 5 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		c := &client{t: t, conn: conn, in: bufio.NewReader(conn), bytesPer: 4}
		c.shakeHands()
		c.refresh(false)
		c.ask(true)
		conns = append(conns, conn)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for _, conn := range conns {
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("a viewer was left: %v", err)
		}
	}
	if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the listener is still open")
	}
}

func TestServeReportsAFailedListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := small().Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "accept") {
		t.Errorf("%v", err)
	}
}
