package reactor

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// startJoin joins two TCP connections and returns their far ends.
func startJoin(t *testing.T, r *Reactor, ctx context.Context, times joinTimes, ahead []byte) (a, b *net.TCPConn, ended chan Joined) {
	nearA, a := tcpPair(t)
	nearB, b := tcpPair(t)
	ended = make(chan Joined, 1)
	r.join(ctx, Side{Conn: nearA, Name: "a", Ahead: ahead}, Side{Conn: nearB, Name: "b"}, "owner", times, func(j Joined) { ended <- j })
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b, ended
}

func TestJoinCarriesBothWaysAndPassesHalfCloseOn(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		a, b, ended := startJoin(t, r, t.Context(), defaultJoinTimes(), []byte("ahead "))
		there, back := random(5<<20), random(3<<20)
		go func() { _, _ = a.Write(there); _ = a.CloseWrite() }()
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, append([]byte("ahead "), there...)) {
			t.Errorf("%d bytes of %d, %v", len(got), len(there)+6, err)
		}
		go func() { _, _ = b.Write(back); _ = b.CloseWrite() }()
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, back) {
			t.Errorf("%d bytes of %d, %v", len(got), len(back), err)
		}
		if end := <-ended; end.By != "a" || end.Cause != nil || end.FromA != int64(len(there))+6 || end.FromB != int64(len(back)) {
			t.Errorf("%+v", end)
		}
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		ctx, cancel := context.WithCancel(t.Context())
		a, b, ended := startJoin(t, r, ctx, defaultJoinTimes(), nil)
		cancel()
		if end := <-ended; end.By != "owner" || end.Cause != context.Canceled {
			t.Errorf("%+v", end)
		}
		for _, far := range []*net.TCPConn{a, b} {
			if n, err := far.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("it is still open")
			}
		}
	})
}

// TestHalfClosedJoinDoesNotWaitForEver: a side that says nothing after the other's
// last word may have gone without a trace.
func TestHalfClosedJoinDoesNotWaitForEver(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		times := defaultJoinTimes()
		times.halfClosed = 20 * time.Millisecond
		a, _, ended := startJoin(t, r, t.Context(), times, nil)
		_ = a.CloseWrite()
		if end := <-ended; end.By != "a" || end.Cause != nil {
			t.Errorf("%+v", end)
		}
	})
}

// TestJoinEndsWhenAPeersKernelIsSilent: what was sent is not acknowledged any
// more. A window that stays shut is no silence.
func TestJoinEndsWhenAPeersKernelIsSilent(t *testing.T) {
	r, err := New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	times := defaultJoinTimes()
	times.look, times.silence = time.Millisecond, -1 // any peer has been silent for longer
	_, _, ended := startJoin(t, r, t.Context(), times, nil)
	if end := <-ended; end.Cause == nil || !strings.Contains(end.Cause.Error(), "acknowledged") {
		t.Errorf("%+v", end)
	}
}

// TestJoinLosesNoLastWords: a side that has ended both ways, of which a slow other
// side has not taken all, is no side that has failed.
func TestJoinLosesNoLastWords(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		a, b, ended := startJoin(t, r, t.Context(), defaultJoinTimes(), nil)
		words := random(16 << 20) // more than the sockets hold
		go func() {
			_, _ = b.Read(make([]byte, 1)) // the end of a
			_, _ = b.Write(words)
			_ = b.CloseWrite()
		}()
		_ = a.CloseWrite()
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, words) {
			t.Errorf("%d bytes of %d, %v", len(got), len(words), err)
		}
		if end := <-ended; end.By != "a" || end.Cause != nil || end.FromB != int64(len(words)) {
			t.Errorf("%+v", end)
		}
	})
}
