package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hang only turns a hang into a failure.
const hang = 20 * time.Second

// echoServer sends back what it gets, until the test ends.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var owner sync.WaitGroup
	owner.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			owner.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		owner.Wait()
	})
	return l.Addr().String()
}

func startLink(t *testing.T, caller func(net.Conn) string) *Link {
	t.Helper()
	server := echoServer(t)
	l, err := NewLink(server, caller)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func dial(t *testing.T, l *Link) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(hang))
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func comes(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	back := make([]byte, len(text))
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != text {
		t.Fatalf("%q comes (%v), not %q", back, err, text)
	}
}

// nothingComes lets a while go by: what is held shows itself by nothing.
func nothingComes(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes come (%v)", n, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(hang))
}

func TestLinkCarriesBytesAndTheirEnd(t *testing.T) {
	conn := dial(t, startLink(t, nil))
	text := strings.Repeat("0123456789", 100_000)
	go func() {
		_, _ = io.WriteString(conn, text)
		_ = conn.CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil || string(back) != text {
		t.Errorf("%d bytes come back (%v), not %d", len(back), err, len(text))
	}
}

func TestLinkHoldsBytesUntilTheTroubleEnds(t *testing.T) {
	for _, way := range []Way{ToServer, ToClient, BothWays} {
		l := startLink(t, nil)
		open := dial(t, l)
		send(t, open, "a")
		comes(t, open, "a")
		l.Set(Everybody, Trouble{Hold: way})
		late := dial(t, l)
		for _, conn := range []*net.TCPConn{open, late} {
			send(t, conn, "b")
			nothingComes(t, conn)
		}
		l.Set(Everybody, Trouble{})
		for _, conn := range []*net.TCPConn{open, late} {
			comes(t, conn, "b")
		}
	}
}

func TestLinkResets(t *testing.T) {
	l := startLink(t, nil)
	open := dial(t, l)
	send(t, open, "a")
	comes(t, open, "a")
	l.Set(Everybody, Trouble{Hold: BothWays})
	l.Set(Everybody, Trouble{Reset: true})
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ends with %v", err)
	}
	newOneIsReset(t, l)
	l.Set(Everybody, Trouble{})
	conn := dial(t, l)
	send(t, conn, "b")
	comes(t, conn, "b")
}

// newOneIsReset: while it is made, or after.
func newOneIsReset(t *testing.T, l *Link) {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr)
	if err == nil {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(hang))
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection ends with %v", err)
	}
}

func TestLinkDelaysEveryPiece(t *testing.T) {
	l := startLink(t, nil)
	conn := dial(t, l)
	const delay = 30 * time.Millisecond
	l.Set(Everybody, Trouble{Delay: delay})
	began := time.Now()
	send(t, conn, "a")
	comes(t, conn, "a")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %s", took)
	}
	l.Set(Everybody, Trouble{Delay: time.Hour})
	send(t, conn, "b")
	l.Set(Everybody, Trouble{})
	comes(t, conn, "b")
}

func TestLinkTroublesOneCallerAlone(t *testing.T) {
	names := make(chan string, 2)
	names <- "one"
	names <- "two"
	l := startLink(t, func(net.Conn) string { return <-names })
	one := dial(t, l)
	send(t, one, "a")
	comes(t, one, "a")
	two := dial(t, l)
	l.Set("one", Trouble{Hold: ToServer})
	send(t, one, "b")
	send(t, two, "c")
	comes(t, two, "c")
	nothingComes(t, one)
	l.Set("one", Trouble{})
	comes(t, one, "b")
}

func TestLinkEndsWhenNobodyServes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	link, err := NewLink(l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	newOneIsReset(t, link)
}

func TestCallerAmongFindsTheProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if who := CallerAmong(accepted, map[string]int{"parent": os.Getppid(), "self": os.Getpid()}); who != "self" {
		t.Errorf("it is %q", who)
	}
	if who := CallerAmong(accepted, map[string]int{"parent": os.Getppid()}); who != Everybody {
		t.Errorf("it is %q", who)
	}
}

// TestTroubleBeginsWithAPiece: the ones before it come through.
func TestTroubleBeginsWithAPiece(t *testing.T) {
	l := startLink(t, nil)
	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(hang))
	begun := l.SetAfter(Everybody, 3, Trouble{Reset: true}) // two there, one back
	echo := make([]byte, 1)
	if _, err := conn.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, echo); err != nil {
		t.Fatalf("the first piece did not come back: %v", err)
	}
	select {
	case <-begun:
		t.Fatal("it has begun too early")
	default:
	}
	_, _ = conn.Write([]byte("b"))
	if _, err := io.ReadFull(conn, echo); err == nil {
		t.Error("the fourth piece, the second echo, came through")
	}
	select {
	case <-begun:
	case <-time.After(hang):
		t.Error("it has not begun")
	}
}
