package reactor

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

type closeWriter interface {
	net.Conn
	CloseWrite() error
}

// pairs runs a test over every kind of connection and poller.
func pairs(t *testing.T, test func(t *testing.T, r *Reactor, near, far closeWriter)) {
	both(t, func(t *testing.T, r *Reactor) {
		t.Run("plain", func(t *testing.T) {
			near, far := tcpPair(t)
			test(t, r, near, far)
		})
		for name, version := range map[string]uint16{"tls 1.2": tls.VersionTLS12, "tls 1.3": tls.VersionTLS13} {
			t.Run(name, func(t *testing.T) {
				near, far := tlsPair(t, version)
				test(t, r, near, far)
			})
		}
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func TestBytesComeBackAsTheyWentAndTheEndIsPassedOn(t *testing.T) {
	pairs(t, func(t *testing.T, r *Reactor, near, far closeWriter) {
		defer far.Close()
		l := r.Loop()
		onLoop(l, func() { echoer(l, near) })
		sent := random(24 << 20) // more than socket buffers hold, so that it stalls
		var writing sync.WaitGroup
		writing.Go(func() {
			for rest := sent; len(rest) > 0; {
				n, err := far.Write(rest[:min(len(rest), 1+rand.IntN(200_000))])
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			if err := far.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(far)
		writing.Wait()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(sent), err)
		}
	})
}

// What a TLS layer has read before the loop takes the connection is not lost.
func TestBytesReadAheadByTLSAreTold(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tlsPair(t, tls.VersionTLS13)
		defer far.Close()
		if _, err := far.Write([]byte("first second")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len("first "))
		if _, err := io.ReadFull(near, b); err != nil {
			t.Fatal(err)
		}
		l := r.Loop()
		onLoop(l, func() { echoer(l, near) })
		b = make([]byte, len("second"))
		if _, err := io.ReadFull(far, b); err != nil || string(b) != "second" {
			t.Fatalf("%q %v", b, err)
		}
	})
}

// A server that says something and closes delivers both in one event.
func TestLastWordsBeforeTheEndAreHeard(t *testing.T) {
	pairs(t, func(t *testing.T, r *Reactor, near, far closeWriter) {
		heard := make(chan string, 2)
		l := r.Loop()
		onLoop(l, func() {
			e := newTestEnd()
			e.readable = func() {
				n, err := e.conn.Read(l.Buffer()[:MinRead])
				switch err {
				case nil:
					heard <- string(l.Buffer()[:n])
				case io.EOF:
					e.conn.Close()
					heard <- "the end"
				}
			}
			e.conn = l.Add(near, e)
		})
		_, _ = far.Write([]byte("last words"))
		far.Close()
		if first, second := <-heard, <-heard; first != "last words" || second != "the end" {
			t.Errorf("%q, %q", first, second)
		}
	})
}

// TestAnEndThatTLSDoesNotAnnounceIsALoss: a peer that was killed closes no TLS
// connection, its kernel closes the socket below.
func TestAnEndThatTLSDoesNotAnnounceIsALoss(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tlsPair(t, tls.VersionTLS13)
		heard := make(chan error, 2)
		l := r.Loop()
		onLoop(l, func() {
			e := newTestEnd()
			e.readable = func() {
				for {
					switch _, err := e.conn.Read(l.Buffer()[:MinRead]); err {
					case nil:
						heard <- nil
					case ErrWait:
						return
					default:
						e.conn.Close()
						heard <- err
						return
					}
				}
			}
			e.conn = l.Add(near, e)
		})
		_, _ = far.Write([]byte("last words"))
		if err := <-heard; err != nil {
			t.Fatal(err)
		}
		_ = far.NetConn().Close()
		if err := <-heard; err != io.ErrUnexpectedEOF {
			t.Errorf("%v", err)
		}
	})
}

func TestPausedConnectionTellsOnlyItsLoss(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tcpPair(t)
		lost, l := make(chan struct{}, 10), r.Loop()
		e := newTestEnd()
		e.readable = func() { t.Error("told while paused") }
		e.lost = func() { lost <- struct{}{}; e.conn.Close() }
		onLoop(l, func() {
			e.conn = l.Add(near, e)
			e.conn.Pause()
		})
		_, _ = far.Write([]byte("unread"))
		_ = far.SetLinger(0)
		far.Close()
		if _, portable := r.loops[0].poll.(*notifier); portable {
			return // goroutines find a loss at the next use
		}
		select {
		case <-lost:
		case <-time.After(hang):
			t.Error("its loss was not told")
		}
	})
}

// The other side of a relay may pause and resume a connection at any time; what
// that one has written is told all the same.
func TestFlushedComesWhateverHappensMeanwhile(t *testing.T) {
	pairs(t, func(t *testing.T, r *Reactor, near, far closeWriter) {
		defer far.Close()
		l, flushed := r.Loop(), make(chan struct{}, 1)
		e := newTestEnd()
		e.flushed = func() { flushed <- struct{}{} }
		pending := false
		onLoop(l, func() {
			e.conn = l.Add(near, e)
			for !pending {
				if err := e.conn.Write(random(50_000)); err != nil {
					t.Fatal(err)
				}
				pending = e.conn.Pending()
			}
		})
		stop, toggling := make(chan struct{}), sync.WaitGroup{}
		toggling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					onLoop(l, func() { e.conn.Pause(); e.conn.Resume() })
				}
			}
		})
		go func() { _, _ = io.Copy(io.Discard, far) }()
		select {
		case <-flushed:
		case <-time.After(hang):
			t.Error("not told")
		}
		close(stop)
		toggling.Wait()
		onLoop(l, e.conn.Close)
	})
}

func TestTimersComeInOrderAndOnce(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		l, order, done := r.Loop(), []int{}, make(chan struct{})
		onLoop(l, func() {
			add := func(n int, d time.Duration) *Timer {
				timer := l.NewTimer(func() { order = append(order, n) })
				timer.Set(l.Now().Add(d))
				return timer
			}
			add(3, 30*time.Millisecond)
			add(1, 10*time.Millisecond)
			add(2, 20*time.Millisecond)
			add(4, time.Millisecond).Stop()
			moved := add(0, time.Hour)
			moved.Set(l.Now())
			last := l.NewTimer(func() { close(done) })
			last.Set(l.Now().Add(40 * time.Millisecond))
		})
		<-done
		if len(order) != 4 || order[0] != 0 || order[1] != 1 || order[2] != 2 || order[3] != 3 {
			t.Error(order)
		}
	})
}

// A peer that makes TLS answer (here by key updates, in a program by pings) and
// reads nothing can't make the answers pile up.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tcpPair(t)
		defer far.Close()
		l := r.Loop()
		onLoop(l, func() {
			e := newTestEnd()
			e.conn = l.Add(near, e)
			written, err := 0, error(nil)
			for err == nil && written < 64<<20 {
				err = e.conn.Write(random(1000))
				written += 1000
			}
			if err != errFlooded {
				t.Errorf("%d bytes were taken, %v", written, err)
			}
		})
	})
}

func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	r, err := New(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const conns = 50
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	l := r.Loop()
	exchange := func() *net.TCPConn {
		near, far := tcpPair(t)
		onLoop(l, func() { echoer(l, near) })
		sent := random(100_000)
		go func() { _, _ = far.Write(sent) }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatal(err)
		}
		return far
	}
	defer exchange().Close()
	before := heap()
	for range conns {
		defer exchange().Close()
	}
	if each := (heap() - before) / conns; each > 2000 {
		t.Errorf("%d bytes for an idle plain connection and its client", each)
	}
}

func TestCloseEndsConnectionsThatAreLeft(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tcpPair(t)
		defer far.Close()
		l := r.Loop()
		onLoop(l, func() { echoer(l, near) })
		r.Close()
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v", err)
		}
		if l.Do(func() {}) {
			t.Error("a stopped loop takes work")
		}
	})
}

// TestWhoLooksAtAConnectionWhileALoopTakesIt finds the one below or none. Run with
// -race it shows that looking is allowed then: the balancer looks for clients that
// have left.
func TestWhoLooksAtAConnectionWhileALoopTakesIt(t *testing.T) {
	both(t, func(t *testing.T, r *Reactor) {
		near, far := tlsPair(t, tls.VersionTLS13)
		defer far.Close()
		transport := near.NetConn().(*Transport)
		below := transport.NetConn()
		var looking sync.WaitGroup
		begun, taken := make(chan struct{}), make(chan struct{})
		looking.Go(func() {
			close(begun)
			for {
				if now := transport.NetConn(); now != below && now != nil {
					t.Errorf("found %v", now)
				}
				select {
				case <-taken:
					return
				default:
				}
			}
		})
		<-begun
		l := r.Loop()
		var conn *Conn
		onLoop(l, func() { conn = l.Add(near, newTestEnd()) })
		close(taken)
		looking.Wait()
		onLoop(l, func() { conn.Close() })
	})
}
