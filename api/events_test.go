package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// listener is a client of the event stream.
type listener struct {
	t  testing.TB
	ws *websocket.Conn
}

func dialEvents(t testing.TB, client *http.Client, url string, header http.Header) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url+"/api/v1/events", &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	return &listener{t, ws}
}

func (w *world) listen(caller string) *listener {
	w.t.Helper()
	l := dialEvents(w.t, nil, w.url, http.Header{"Authorization": {"Bearer " + w.secrets[caller]}})
	w.t.Cleanup(func() { _ = l.ws.CloseNow() })
	return l
}

func (l *listener) next() (e store.Event, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	_, text, err := l.ws.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	return e, err
}

func (l *listener) want(id string) {
	l.t.Helper()
	if e, err := l.next(); err != nil || e.ID != id {
		l.t.Errorf("the next event is %+v, %v; want id %q", e, err, id)
	}
}

func (l *listener) wantClosed(status websocket.StatusCode) {
	l.t.Helper()
	if e, err := l.next(); websocket.CloseStatus(err) != status {
		l.t.Errorf("event %+v, %v; want a close with %d", e, err, status)
	}
}

// TestEventsReachThoseWhoMaySeeThem: the last one is everybody's, so what came
// before it is all that each was told.
func TestEventsReachThoseWhoMaySeeThem(t *testing.T) {
	w := newWorld(t)
	callers := []string{admin, alice, bob, stranger}
	listeners := map[string]*listener{}
	for _, caller := range callers {
		listeners[caller] = w.listen(caller)
	}
	ctx := context.Background()
	for _, e := range []store.Event{
		{Type: "session", ID: "1", State: "running", Org: "a", Owner: "alice"},
		{Type: "session", ID: "2", Org: "a", Owner: "bob"},
		{Type: "session", ID: "3", Org: "b", Owner: "alice"},
		{Type: "agent", ID: "4"},
		{Type: "node", ID: "5"},
		{Type: "session", ID: "6"},
		{Type: "lease", ID: "node"}, // this and the next are for the edges themselves: nobody gets them
		{Type: "viewers", ID: "8", Viewers: 1},
		{Type: "activity", ID: "8"},
		{Type: "resync", ID: "7"},
	} {
		w.coord.Publish(ctx, e)
	}
	for caller, ids := range map[string]string{admin: "1234567", alice: "17", bob: "27", stranger: "37"} {
		for _, id := range ids {
			listeners[caller].want(string(id))
		}
	}
}

func TestEventsTellOnlyWhatIsDescribed(t *testing.T) {
	w := newWorld(t)
	l := w.listen(alice)
	w.want(202, w.call(alice, "POST", "/api/v1/sessions", ""))
	w.coord.Publish(context.Background(), store.Event{Type: "session", ID: newID(), State: "running", Org: "a", Owner: "alice",
		EndsAt: time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("", 3600)), EndsBecause: store.EndsIdle, AgentUp: true})
	doc, err := described()
	if err != nil {
		t.Fatal(err)
	}
	for _, ends := range []string{"", "2026-01-02T02:04:05.678Z idle_timeout"} {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		_, text, err := l.ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var event map[string]any
		if err := json.Unmarshal(text, &event); err != nil {
			t.Fatal(err)
		}
		if err := doc.Components.Schemas["Event"].Value.VisitJSON(event); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		_, at := event["ends_at"]
		_, because := event["ends_because"]
		if at != (ends != "") || because != at || (at && fmt.Sprint(event["ends_at"], " ", event["ends_because"]) != ends) {
			t.Errorf("%s, want the end %q", text, ends)
		}
	}
}

func TestEventsByCookieNeedTheOrigin(t *testing.T) {
	w := newWorld(t)
	cookie := w.logIn(alice)
	l := dialEvents(t, nil, w.url, http.Header{"Cookie": {cookie}, "Origin": {w.url}})
	defer l.ws.CloseNow()
	w.coord.Publish(context.Background(), store.Event{Type: "session", ID: "1", Org: "a", Owner: "alice"})
	l.want("1")
	for _, origin := range []http.Header{{}, {"Origin": {"https://evil.example"}}} {
		origin.Set("Cookie", cookie)
		_, response, err := websocket.Dial(context.Background(), w.url+"/api/v1/events", &websocket.DialOptions{HTTPHeader: origin})
		if err == nil || response == nil || response.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: %v", origin.Get("Origin"), err)
		}
	}
}

func TestEventsWantAWebSocketHandshake(t *testing.T) {
	w := newWorld(t)
	good := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	for name, c := range map[string]struct {
		header, value string
		status        int
	}{
		"no upgrade":    {"Upgrade", "", 426},
		"other upgrade": {"Upgrade", "h2c", 426},
		"no connection": {"Connection", "close", 426},
		"old version":   {"Sec-WebSocket-Version", "8", 400},
		"short key":     {"Sec-WebSocket-Key", "YQ==", 400},
		"no base64":     {"Sec-WebSocket-Key", "????", 400},
	} {
		var header []string
		for name, value := range good {
			if name == c.header {
				value = c.value
			}
			if value != "" {
				header = append(header, name, value)
			}
		}
		if a := w.call(alice, "GET", "/api/v1/events", "", header...); a.status != c.status || a.problem().Detail == "" {
			t.Errorf("%s: status %d: %s", name, a.status, a.body)
		}
	}
}

func TestEventsEndWithTheEdge(t *testing.T) {
	w := newWorld(t)
	l := w.listen(alice)
	_ = w.coord.Close()
	l.wantClosed(websocket.StatusServiceRestart)
}

func TestEventStreamsAreBounded(t *testing.T) {
	w := newWorld(t)
	s := New(w.options).(*server)
	for range maxEventStreams {
		s.streams <- struct{}{}
	}
	network := newPipes()
	stop := network.serve(t, s)
	defer stop()
	header := http.Header{"Authorization": {"Bearer " + w.secrets[alice]}}
	_, response, err := websocket.Dial(context.Background(), "http://edge/api/v1/events", &websocket.DialOptions{HTTPClient: network.client(), HTTPHeader: header})
	if err == nil || response == nil || response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more than the limit: %v", err)
	}
	<-s.streams
	l := dialEvents(t, network.client(), "http://edge", header)
	_ = l.ws.Close(websocket.StatusNormalClosure, "")
}

// TestEventsEndWithTheKey in virtual time: within a minute of its deletion.
func TestEventsEndWithTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtualWorld(t)
		defer v.close()
		secret, id := v.addKey("short", "a", "alice", store.RoleUser)
		l := dialEvents(t, v.network.client(), "http://edge", http.Header{"Authorization": {"Bearer " + secret}})
		read := make(chan error, 1)
		go func() { _, _, err := l.ws.Read(context.Background()); read <- err }()
		time.Sleep(10 * time.Minute) // pings are answered
		if err := v.store.DeleteKey(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-read; websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%v, want a close with 1008", err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
		_ = l.ws.CloseNow()
	})
}

// TestAClientThatTakesNothingIsDisconnected in virtual time.
func TestAClientThatTakesNothingIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtualWorld(t)
		defer v.close()
		conn := v.network.dial(t)
		secret, _ := v.addKey("k", "a", "alice", store.RoleUser)
		request := "GET /api/v1/events HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " + secret + "\r\n\r\n"
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 101 ") {
			t.Fatalf("%q, %v", answer[:n], err)
		}
		synctest.Wait()
		for range 1000 { // more than the queue holds; nothing blocks
			v.coord.Publish(context.Background(), store.Event{Type: "session", ID: "1", Org: "a", Owner: "alice"})
		}
		time.Sleep(eventPatience + time.Second)
		synctest.Wait()
		if _, err := conn.Write([]byte{0}); err == nil {
			t.Error("the stream is still open")
		}
	})
}

// virtualWorld is a world in a synctest bubble: its network is in memory.
type virtualWorld struct {
	*world
	network *pipes
	close   func()
}

func newVirtualWorld(t *testing.T) *virtualWorld {
	v := &virtualWorld{world: &world{t: t, file: t.TempDir() + "/streamspace.db", secrets: map[string]string{}, logs: &logs{}}, network: newPipes()}
	v.open()
	stop := v.network.serve(t, New(v.options))
	v.close = func() {
		_ = v.coord.Close()
		stop()
		_ = v.store.Close()
	}
	return v
}

// pipes is a net.Listener whose connections are in memory.
type pipes struct {
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{waiting: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.waiting:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) dial(t testing.TB) net.Conn {
	client, server := net.Pipe()
	select {
	case p.waiting <- server:
	case <-p.closed:
		t.Fatal("nobody listens")
	}
	return client
}

func (p *pipes) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case p.waiting <- server:
			return client, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}}
}

func (p *pipes) serve(t testing.TB, h http.Handler) (stop func()) {
	server := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p) }()
	return func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}
}
