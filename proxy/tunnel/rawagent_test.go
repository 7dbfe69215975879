package tunnel

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
)

// rawAgent speaks the protocol by hand, so that a test can break it.
type rawAgent struct {
	*channel
	t       testing.TB
	id      string
	dialer  *dialer
	welcome Welcome
}

func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// newRawAgent opens a control channel and says nothing on it yet.
func newRawAgent(t testing.TB, e *testEdge, id string) *rawAgent {
	t.Helper()
	if id == "" {
		id = uuid.NewString()
	}
	d, err := newDialer(Home{URL: e.url}, agentOptions(e), dialTCP)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := d.control(deadlined(t), id)
	if err != nil {
		t.Fatalf("control: %v", err)
	}
	c := newChannel(ws)
	t.Cleanup(func() { _ = ws.CloseNow(); c.abort() })
	return &rawAgent{channel: c, t: t, id: id, dialer: d}
}

// welcomedRawAgent is one that the hub takes for connected; it makes no spares.
func welcomedRawAgent(t testing.TB, e *testEdge, id string) *rawAgent {
	t.Helper()
	a := newRawAgent(t, e, id)
	a.say(Envelope{Hello: &Hello{AgentID: a.id, Name: "raw", Capacity: 1, Weight: 1}})
	m := a.hear()
	if m.Welcome == nil {
		t.Fatalf("got %+v, want a welcome", m)
	}
	a.welcome = *m.Welcome
	return a
}

func (a *rawAgent) say(m Envelope) {
	a.t.Helper()
	if err := a.transmit(m); err != nil {
		a.t.Fatalf("transmit: %v", err)
	}
}

func (a *rawAgent) hear() Envelope {
	a.t.Helper()
	m, err := a.receive(deadlined(a.t))
	if err != nil {
		a.t.Fatalf("receive: %v", err)
	}
	return m
}

// ended reads until the hub closes, and returns why.
func (a *rawAgent) ended() error {
	for {
		if _, err := a.receive(deadlined(a.t)); err != nil {
			return err
		}
	}
}

// stream makes a stream connection.
func (a *rawAgent) stream() (net.Conn, *bufio.Reader) {
	a.t.Helper()
	conn, reader, err := a.dialer.stream(deadlined(a.t), a.id, a.welcome.StreamToken)
	if err != nil {
		a.t.Fatalf("stream: %v", err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
		a.t.Fatal(err)
	}
	return conn, reader
}

// answerEcho answers the echo that precedes every open.
func (a *rawAgent) answerEcho(conn net.Conn, reader *bufio.Reader) {
	a.t.Helper()
	kind, payload, err := readFrame(reader)
	if err != nil || kind != frameEcho {
		a.t.Fatalf("frame %d, %v, want an echo", kind, err)
	}
	if _, err := conn.Write(appendFrame(nil, frameEchoAnswer, payload)); err != nil {
		a.t.Fatal(err)
	}
}

// awaitOpen answers echoes, of which the hub's own checks may add some, until
// the open comes.
func (a *rawAgent) awaitOpen(conn net.Conn, reader *bufio.Reader) {
	a.t.Helper()
	for {
		kind, payload, err := readFrame(reader)
		switch {
		case err != nil || kind != frameEcho && kind != frameOpen:
			a.t.Fatalf("frame %d, %v, want an echo or an open", kind, err)
		case kind == frameOpen:
			return
		}
		if _, err := conn.Write(appendFrame(nil, frameEchoAnswer, payload)); err != nil {
			a.t.Fatal(err)
		}
	}
}

// acceptOpen answers the open with ok.
func (a *rawAgent) acceptOpen(conn net.Conn, reader *bufio.Reader) {
	a.t.Helper()
	a.awaitOpen(conn, reader)
	answer, err := openAnswerFrame(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := conn.Write(answer); err != nil {
		a.t.Fatal(err)
	}
}
