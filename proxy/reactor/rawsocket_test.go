package reactor

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRawSocketAllocatesNothing: a small HTTP request makes five calls.
func TestRawSocketAllocatesNothing(t *testing.T) {
	near, far := tcpPair(t)
	defer near.Close()
	defer far.Close()
	a, b := NewRawSocket(near), NewRawSocket(far)
	buffer := make([]byte, 1)
	if n := testing.AllocsPerRun(100, func() {
		_, written := a.Write(buffer)
		_, read := b.Read(buffer)
		if written != nil || read != nil {
			t.Error(written, read)
		}
	}); n != 0 {
		t.Errorf("a byte from one to the other makes %v allocations", n)
	}
}

// TestRawSocketIsAsTheConnection: bytes, ends and errors are those that the
// connection's own calls tell.
func TestRawSocketIsAsTheConnection(t *testing.T) {
	t.Run("bytes, both ways at once, more than the kernel holds", func(t *testing.T) {
		near, far := tcpPair(t)
		defer near.Close()
		defer far.Close()
		s := NewRawSocket(near)
		sent := make([]byte, 16<<20)
		_, _ = rand.Read(sent)
		var others sync.WaitGroup
		others.Go(func() { _, _ = io.Copy(far, far) })
		others.Go(func() {
			if n, err := s.Write(sent); n != len(sent) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			near.CloseWrite()
		})
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
			t.Error("other bytes came back", err)
		}
		others.Wait()
	})
	t.Run("the end", func(t *testing.T) {
		near, far := tcpPair(t)
		defer near.Close()
		far.Close()
		if n, err := NewRawSocket(near).Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Error(n, err)
		}
	})
	t.Run("a reset", func(t *testing.T) {
		near, far := tcpPair(t)
		defer near.Close()
		_ = far.SetLinger(0)
		far.Close()
		_, err := NewRawSocket(near).Read(make([]byte, 1))
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
			t.Error(err)
		}
		if _, err = NewRawSocket(near).Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || !errors.As(err, &op) || op.Op != "write" {
			t.Error(err)
		}
	})
	t.Run("deadlines", func(t *testing.T) {
		near, far := tcpPair(t)
		defer near.Close()
		defer far.Close()
		s := NewRawSocket(near)
		_ = near.SetDeadline(time.Now().Add(time.Millisecond))
		_, read := s.Read(make([]byte, 1))
		n, write := s.Write(make([]byte, 64<<20))
		_, ask := s.Ask([]byte("x"))
		for what, err := range map[string]error{"read": read, "write": write, "ask": ask} {
			var op *net.OpError
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || op.Op == "raw-read" || op.Op == "raw-write" {
				t.Errorf("%s: %v", what, err)
			}
		}
		_ = near.SetDeadline(time.Time{})
		near.CloseWrite()
		if taken, err := io.Copy(io.Discard, far); taken != int64(n) || err != nil {
			t.Errorf("%d of %d bytes arrived, %v", taken, n, err)
		}
	})
	t.Run("closed while it waits", func(t *testing.T) {
		near, far := tcpPair(t)
		defer far.Close()
		time.AfterFunc(time.Millisecond, func() { near.Close() })
		if _, err := NewRawSocket(near).Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("no socket", func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		s := NewRawSocket(near)
		go func() { _, _ = s.Write([]byte("hello")) }()
		got := make([]byte, 5)
		if _, err := io.ReadFull(NewRawSocket(far), got); err != nil || string(got) != "hello" || s.CanAsk() {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestAskLooksBeforeItSpeaks: nothing is sent to who has spoken or gone, and a
// request is answered by what is said after it.
func TestAskLooksBeforeItSpeaks(t *testing.T) {
	near, far := tcpPair(t)
	defer near.Close()
	defer far.Close()
	s := NewRawSocket(near)
	if tracked := NewRawSocket(Track(near, func() {})); tracked.CanAsk() != s.CanAsk() {
		t.Error("a connection that is counted is none of TCP")
	}
	if !s.CanAsk() {
		return // on a system where it does not look
	}
	go func() {
		question := make([]byte, 8)
		_, _ = io.ReadFull(far, question)
		_, _ = far.Write(append(question, "unasked"...))
	}()
	if n, err := s.Ask([]byte("question")); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	answer := make([]byte, 8)
	if _, err := io.ReadFull(s, answer); err != nil || string(answer) != "question" {
		t.Fatalf("%q, %v", answer, err)
	}
	_ = near.SetReadDeadline(time.Now().Add(hang))
	for _, what := range []string{"it has spoken", "it has gone"} {
		if n, err := s.Ask([]byte("again")); n != 0 || err != ErrStirred {
			t.Errorf("%s: %d, %v", what, n, err)
		}
		far.CloseWrite()
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Error(err)
		}
	}
	far.CloseRead()
	if all, _ := io.ReadAll(far); len(all) != 0 {
		t.Errorf("it was told %q", all)
	}
}
