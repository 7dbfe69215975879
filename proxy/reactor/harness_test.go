package reactor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// hang is how long a test waits before it calls something stuck.
const hang = 30 * time.Second

// both runs a test with the system's poller and with goroutines.
func both(t *testing.T, test func(t *testing.T, r *Reactor)) {
	t.Run("system", func(t *testing.T) {
		r, err := New(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		test(t, r)
	})
	t.Run("portable", func(t *testing.T) {
		r := NewPortable(1)
		defer r.Close()
		test(t, r)
	})
}

// onLoop runs f on the loop and waits for it.
func onLoop(l *Loop, f func()) {
	done := make(chan struct{})
	if l.Do(func() { f(); close(done) }) {
		<-done
	}
}

func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = dialled.SetDeadline(time.Now().Add(hang))
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// tlsPair is a server's connection over a Transport and its client.
func tlsPair(t testing.TB, version uint16) (near, far *tls.Conn) {
	t.Helper()
	nearTCP, farTCP := tcpPair(t)
	near = tls.Server(NewTransport(nearTCP), &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MaxVersion: version})
	far = tls.Client(farTCP, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- far.Handshake() }()
	if err := near.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return near, far
}

func certificate(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// testEnd is a handler that does what its functions say.
type testEnd struct {
	conn     *Conn
	readable func()
	flushed  func()
	lost     func()
}

func newTestEnd() *testEnd {
	nothing := func() {}
	return &testEnd{readable: nothing, flushed: nothing, lost: nothing}
}

func (e *testEnd) Readable() { e.readable() }
func (e *testEnd) Flushed()  { e.flushed() }
func (e *testEnd) Lost()     { e.lost() }

// echoer is a handler that writes back what it reads, and pauses while that
// waits.
func echoer(l *Loop, conn net.Conn) *testEnd {
	e := newTestEnd()
	e.readable = func() {
		n, err := e.conn.Read(l.Buffer()[:MinRead])
		switch {
		case err == ErrWait:
		case err == io.EOF:
			e.conn.Pause()
			e.conn.CloseWrite()
		case err != nil:
			e.conn.Close()
		default:
			if e.conn.Write(l.Buffer()[:n]) != nil {
				e.conn.Close()
			} else if e.conn.Pending() {
				e.conn.Pause()
			}
		}
	}
	e.flushed = func() { e.conn.Resume() }
	e.conn = l.Add(conn, e)
	return e
}
