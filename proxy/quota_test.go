package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// byTicket reads a grant like "session org owner" from the ticket, with dots for
// spaces, and asks whether there is room as the edge does.
func byTicket(e **edge) func(context.Context, string) (Grant, error) {
	return func(_ context.Context, token string) (Grant, error) {
		var g Grant
		if _, err := fmt.Sscan(strings.ReplaceAll(token, ".", " "), &g.Session, &g.Org, &g.Owner); err != nil {
			return g, &Refusal{Reason: BadTicket}
		}
		return g, (*e).HasRoom(g)
	}
}

// ask requests a stream with token as its ticket.
func (e *edge) ask(token string) (*rawViewer, *http.Response) {
	e.t.Helper()
	return e.send(strings.Replace(request(goodHeaders()...), ticket, token, 1))
}

// admitted opens a viewer; it stays.
func (e *edge) admitted(token string) *rawViewer {
	e.t.Helper()
	v, response := e.ask(token)
	if response.StatusCode != http.StatusSwitchingProtocols {
		e.t.Fatalf("%s: %s", token, response.Status)
	}
	return v
}

func TestStreamsOfASessionAreLimited(t *testing.T) {
	server := startVNC(t, echo)
	var e *edge
	e = startEdge(t, Options{MaxStreamsPerSession: 2, Authorize: byTicket(&e)}, server.addr)
	first := e.admitted("s1.org.ann")
	e.admitted("s1.org.ann")
	e.admitted("s2.org.ann") // another session has places of its own
	_, response := e.ask("s1.org.ann")
	wantProblem(t, response, SessionLimit)
	if n := e.Viewers("s1"); n != 2 {
		t.Errorf("%d viewers", n)
	}
	if n := e.counter("streamspace_vnc_streams_total", string(SessionLimit)); n != 1 {
		t.Errorf("%v refusals in the metrics", n)
	}
	first.exchangeGreetings()
	first.leave(nil)
	first.wantClose(ViewerLeft)
	eventually(t, "a place is free", func() bool { return e.Viewers("s1") == 1 })
	e.admitted("s1.org.ann")
}

func TestStreamsOfAUserAreLimited(t *testing.T) {
	server := startVNC(t, echo)
	var e *edge
	e = startEdge(t, Options{MaxStreamsPerUser: 2, Authorize: byTicket(&e)}, server.addr)
	first := e.admitted("s1.org.ann")
	e.admitted("s2.org.ann")
	_, response := e.ask("s3.org.ann")
	wantProblem(t, response, UserLimit)
	e.admitted("s4.org.bob")
	e.admitted("s5.other.ann") // the same name in another organisation is another user
	if n := e.counter("streamspace_vnc_streams_total", string(UserLimit)); n != 1 {
		t.Errorf("%v refusals in the metrics", n)
	}
	first.exchangeGreetings()
	first.leave(nil)
	first.wantClose(ViewerLeft)
	eventually(t, "a place is free", func() bool { return e.Active() == 3 })
	e.admitted("s3.org.ann")
}

func TestNodeLimitIsToldBeforeTheOthers(t *testing.T) {
	server := startVNC(t, echo)
	var e *edge
	e = startEdge(t, Options{MaxStreams: 1, MaxStreamsPerSession: 1, MaxStreamsPerUser: 1, Authorize: byTicket(&e)}, server.addr)
	e.admitted("s1.org.ann")
	_, response := e.ask("s1.org.ann")
	wantProblem(t, response, LimitReached)
}

// However many come at once, and whatever they do, no more than the limits are
// let in and every place is free again.
func TestLimitsAreExactUnderARush(t *testing.T) {
	const perSession, perUser, rush = 3, 5, 60
	server := startVNC(t, echo)
	// Without asking for room: all decisions fall where the stream starts.
	authorize := func(_ context.Context, token string) (Grant, error) {
		return Grant{Session: token, Org: "org", Owner: "ann"}, nil
	}
	e := startEdge(t, Options{MaxStreamsPerSession: perSession, MaxStreamsPerUser: perUser, Authorize: authorize}, server.addr)
	var mu sync.Mutex
	answers := make(map[string]int)
	var in []net.Conn
	var all sync.WaitGroup
	for i := range rush {
		all.Go(func() {
			conn, err := net.Dial("tcp", e.addr)
			if err != nil {
				t.Error(err)
				return
			}
			session := fmt.Sprintf("s%d", i%2)
			_, _ = io.WriteString(conn, strings.Replace(request(goodHeaders()...), ticket, session, 1))
			if i%10 == 9 {
				conn.Close() // and does not wait for the answer
				return
			}
			status := make([]byte, len("HTTP/1.1 101"))
			_, _ = io.ReadFull(conn, status)
			mu.Lock()
			defer mu.Unlock()
			answers[string(status)]++
			if strings.HasSuffix(string(status), "101") {
				answers[session]++
				in = append(in, conn)
			} else {
				conn.Close()
			}
		})
	}
	all.Wait()
	for _, session := range []string{"s0", "s1"} {
		if answers[session] > perSession {
			t.Errorf("%d viewers of a session", answers[session])
		}
	}
	if len(in) > perUser || answers["HTTP/1.1 101"]+answers["HTTP/1.1 429"] != rush-rush/10 {
		t.Errorf("answers %v", answers)
	}
	for _, conn := range in {
		conn.Close()
	}
	eventually(t, "all places are free", func() bool { return e.Active() == 0 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if q := e.quota; q.node != 0 || len(q.sessions) != 0 || len(q.users) != 0 {
		t.Errorf("left: %+v", q)
	}
}

// A dial that fails, a viewer that breaks the rules: each way out gives back.
func TestFailedStreamsGiveTheirPlaceBack(t *testing.T) {
	server := startVNC(t, echo)
	var e *edge
	o := Options{MaxStreamsPerSession: 1, MaxStreamsPerUser: 1, Authorize: byTicket(&e)}
	fails := errors.New("of the test")
	o.Dial = func(ctx context.Context, g Grant, _ string) (net.Conn, error) {
		if g.Session == "fails" {
			return nil, fails
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server.addr)
	}
	e = startEdge(t, o, "")
	free := func() {
		t.Helper()
		eventually(t, "the place is free", func() bool { return e.Active() == 0 })
	}
	e.admitted("fails.org.ann").wantClose(Internal)
	free()
	broken := e.admitted("s.org.ann")
	broken.write([]byte{finBit | byte(opBinary), 0}) // not masked
	broken.wantClose(ProtocolError)
	free()
	e.admitted("s.org.ann").Close()
	free()
	e.admitted("s.org.ann")
}
