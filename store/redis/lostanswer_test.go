package redis_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

// answerLoser passes everything on between an edge and Redis, but the answer to
// the first request that has a text in it: instead the connection ends.
type answerLoser struct {
	listener net.Listener
	server   string
	text     []byte
	lost     atomic.Bool
	running  sync.WaitGroup
}

func loseAnswerTo(t *testing.T, server, text string) *answerLoser {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &answerLoser{listener: l, server: server, text: []byte(text)}
	p.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.pass(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.running.Wait()
	})
	return p
}

func (p *answerLoser) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var lose atomic.Bool
	p.running.Go(func() {
		defer func() { _ = client.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || lose.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], p.text) && p.lost.CompareAndSwap(false, true) {
			lose.Store(true)
		}
		if _, err := io.Copy(server, bytes.NewReader(buffer[:n])); err != nil {
			return
		}
	}
}

func TestATicketIsGoodAlthoughTheAnswerToItsUseGotLost(t *testing.T) {
	server := redistest.Start(t)
	proxy := loseAnswerTo(t, server.Addr, "ticket:lost")
	o := options(t, proxy.listener.Addr().String())
	a := open(t, o)
	o.Addrs = []string{server.Addr}
	b := open(t, o)
	wantFirst(t, a, "another", true) // the script is known now
	wantFirst(t, a, "lost", true)
	if !proxy.lost.Load() {
		t.Fatal("no answer was lost")
	}
	wantFirst(t, b, "lost", false)
}
