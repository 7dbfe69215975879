package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// serverPlan is how the VNC servers of one measurement behave.
type serverPlan struct {
	Work      string
	Seed      uint64
	WebSocket bool // speak it, for relays that can't take it apart
	Ports     int  // to listen on
	Rates     rates
	Breaks    bool  // connections may break off at any time, since the run breaks what carries them
	Corrupt   int64 // test only: after this many updates of a connection one byte is wrong; 0: none is
}

// serverCounts is what the VNC servers saw so far.
type serverCounts struct {
	Inputs int64 // numbered ones
	Open   int64
}

// vncServer is all the VNC servers of one measurement: one for each connection.
type vncServer struct {
	plan      serverPlan
	block     block
	listeners []net.Listener
	running   sync.WaitGroup
	fail      func(error)

	inputs, open atomic.Int64
	connections  atomic.Uint32

	mu    sync.Mutex
	conns map[net.Conn]bool // nil once closed
}

// startVNCServer listens; fail is told of what breaks a connection.
func startVNCServer(plan serverPlan, fail func(error)) (*vncServer, error) {
	s := &vncServer{plan: plan, block: newBlock(plan.Seed), fail: fail, conns: map[net.Conn]bool{}}
	for range max(plan.Ports, 1) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, fmt.Errorf("the VNC server can't listen: %w", err)
		}
		s.listeners = append(s.listeners, l)
		s.running.Go(func() { s.accept(l) })
	}
	return s, nil
}

func (s *vncServer) addresses() (all []string) {
	for _, l := range s.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

func (s *vncServer) counts() serverCounts {
	return serverCounts{Inputs: s.inputs.Load(), Open: s.open.Load()}
}

// close ends all connections and waits.
func (s *vncServer) close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
	s.running.Wait()
}

func (s *vncServer) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.fail(fmt.Errorf("the VNC server can't accept: %w", err))
			return
		}
		s.mu.Lock()
		closed := s.conns == nil
		if !closed {
			s.conns[conn] = true
		}
		s.mu.Unlock()
		if closed {
			_ = conn.Close()
			return
		}
		s.running.Go(func() {
			s.serve(conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *vncServer) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns == nil
}

// serve is one VNC server. A connection that ends before its ClientInit was a
// look at whether anybody is there.
func (s *vncServer) serve(conn net.Conn) {
	w := newWire(conn)
	_ = conn.SetDeadline(time.Now().Add(handshakeLimit))
	if s.plan.WebSocket {
		if err := upgradeServer(w); err != nil {
			return
		}
	}
	number, err := s.hello(w)
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	s.open.Add(1)
	defer s.open.Add(-1)
	d := &desktop{server: s, wire: w, connection: number, at: start(number)}
	d.input.input, d.input.command = d.numbered, d.command
	err = w.pump(d.input.read)
	d.halt()
	var network net.Error
	ended := errors.Is(err, errClosed) || errors.As(err, &network) || strings.HasSuffix(err.Error(), "EOF")
	switch {
	case s.closed(), ended && (d.stopped || !d.started || s.plan.Breaks):
	case ended:
		s.fail(fmt.Errorf("VNC server: connection %d ended in the middle of its traffic: %w", number, err))
	default:
		s.fail(fmt.Errorf("VNC server: connection %d: %w", number, err))
	}
	if errors.Is(err, errClosed) {
		_, _ = conn.Write(append(appendFrameHead(nil, opClose, 2, false), 0x03, 0xE8)) // 1000
	}
}

func upgradeServer(w *wire) error {
	first, header, err := w.httpHead()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(first, "GET ") {
		return fmt.Errorf("not a WebSocket request: %q", first)
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		acceptKey(header.Get("Sec-WebSocket-Key")) + "\r\nSec-WebSocket-Protocol: binary\r\n\r\n"
	if _, err := w.conn.Write([]byte(answer)); err != nil {
		return err
	}
	w.frame(false)
	return nil
}

const greeting = "RFB 003.008\n"

// hello is the server's side of the handshake (RFC 6143 section 7.1 to 7.3)
// without authentication.
func (s *vncServer) hello(w *wire) (number uint32, err error) {
	for _, step := range helloSteps() {
		if err := w.send([]byte(step.server)); err != nil {
			return 0, err
		}
		heard, err := w.exactly(len(step.viewer))
		if err != nil {
			return 0, err
		}
		if string(heard) != step.viewer {
			return 0, fmt.Errorf("the viewer said %q where %q was expected", heard, step.viewer)
		}
	}
	number = s.connections.Add(1)
	return number, w.send(appendServerInit(nil, number))
}

// helloStep is what the server says and how the viewer answers.
type helloStep struct{ server, viewer string }

func helloSteps() []helloStep {
	return []helloStep{
		{greeting, greeting},
		{"\x01\x01", "\x01"},         // one type of security: none
		{"\x00\x00\x00\x00", "\x01"}, // it succeeded; ClientInit: shared
	}
}

const serverInitLen = 32 // bytes, with the eight of the name

// appendServerInit appends what ends the handshake. The desktop's name is the
// connection's number, and once more with all its bits turned around: a viewer
// can't know it beforehand.
func appendServerInit(b []byte, number uint32) []byte {
	b = append(b, 5, 0, 3, 32, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0) // 1280 x 800, 32 bits
	b = binary.BigEndian.AppendUint32(b, 8)
	b = binary.BigEndian.AppendUint32(b, number)
	return binary.BigEndian.AppendUint32(b, ^number)
}

// desktop is the traffic of one connection. Its fields belong to the goroutine
// that reads, but for what traffic uses while it runs.
type desktop struct {
	server     *vncServer
	wire       *wire
	connection uint32
	input      inputReader

	started, stopped bool
	cancel           context.CancelFunc
	traffic          sync.WaitGroup

	// Used by traffic while it runs, by the reader before and after.
	at      int
	number  uint32
	scratch [longestHead + updateHead]byte
}

func (d *desktop) numbered(uint32) {
	d.server.inputs.Add(1)
	if d.server.plan.Work == workEcho && !d.stopped {
		_ = d.update(echoPixels) // a broken connection shows in the reading
	}
}

func (d *desktop) command(keysym uint32) {
	switch {
	case keysym == keyStart && !d.started:
		d.started = true
		run := d.model()
		if run == nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		d.cancel = cancel
		d.traffic.Go(func() { run(ctx) })
	case keysym == keyStop && !d.stopped:
		d.halt()
		d.stopped = true
		_ = d.wire.sendUpdate(d.scratch[:], lastUpdate, nil)
	}
}

// halt ends the traffic and waits for it. A viewer reads on until the last
// update, and a lost one fails the write, so it ends.
func (d *desktop) halt() {
	if d.cancel != nil {
		d.cancel()
	}
	d.traffic.Wait()
}

func (d *desktop) model() func(context.Context) {
	switch d.server.plan.Work {
	case workBulk:
		return func(ctx context.Context) {
			for ctx.Err() == nil && d.update(bulkPixels) == nil {
			}
		}
	case workDesktop, workHold:
		return d.bursts
	case workCluster:
		return d.tick
	default:
		return nil
	}
}

func (d *desktop) bursts(ctx context.Context) {
	model := newDesktopModel(d.server.plan.Seed, d.connection, d.server.plan.Rates)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		pause, pixels := model.next()
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if d.update(pixels) != nil {
			return
		}
	}
}

// What a desktop of a cluster shows: small changes, as often as a clock.
const (
	tickPause  = time.Second
	tickPixels = 300 // bytes
)

// tick shows something at once and then every tickPause, from a phase of the
// connection's own.
func (d *desktop) tick(ctx context.Context) {
	if d.update(tickPixels) != nil || !sleep(ctx, rand.N(tickPause)) {
		return
	}
	beat := time.NewTicker(tickPause)
	defer beat.Stop()
	for d.update(tickPixels) == nil {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
	}
}

func (d *desktop) update(size int) error {
	pixels := d.server.block.stretch(&d.at, size)
	if c := d.server.plan.Corrupt; c > 0 && int64(d.number) == c {
		pixels = append([]byte(nil), pixels...)
		pixels[size/2] ^= 0x40
	}
	err := d.wire.sendUpdate(d.scratch[:], d.number, pixels)
	d.number++
	return err
}
