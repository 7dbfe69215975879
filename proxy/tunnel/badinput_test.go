package tunnel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestControlHandshakeIsRefusedBeforeTheUpgrade(t *testing.T) {
	e := newEdge(t)
	good := func() http.Header {
		h := http.Header{}
		h.Set("Authorization", "Bearer "+testToken)
		h.Set(HeaderAgentID, uuid.NewString())
		h.Set(HeaderAgentKey, testKey)
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Version", "13")
		h.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		h.Set("Sec-WebSocket-Protocol", ControlProtocol)
		return h
	}
	for name, c := range map[string]struct {
		header, value string
		status        int
		code          Code
	}{
		"no token":          {"Authorization", "", 401, CodeUnauthorized},
		"another scheme":    {"Authorization", "Basic " + testToken, 401, CodeUnauthorized},
		"an endless token":  {"Authorization", "Bearer " + strings.Repeat("x", 600), 401, CodeUnauthorized},
		"no key":            {HeaderAgentKey, "", 401, CodeUnauthorized},
		"no id":             {HeaderAgentID, "", 400, CodeBadRequest},
		"an id that is not": {HeaderAgentID, "../../etc/passwd", 400, CodeBadRequest},
		"no upgrade":        {"Upgrade", "h2c", 400, CodeBadRequest},
		"another protocol":  {"Sec-WebSocket-Protocol", "streamspace-agent.v0", 400, CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			header := good()
			header.Set(c.header, c.value)
			status, refusal := get(t, e, header)
			if status != c.status || refusal.Code != c.code || refusal.Text == "" {
				t.Errorf("status %d, %+v, want %d and code %s", status, refusal, c.status, c.code)
			}
			if strings.Contains(refusal.Text, testToken) || strings.Contains(refusal.Text, testKey) {
				t.Errorf("a credential in %q", refusal.Text)
			}
		})
	}
}

func get(t *testing.T, e *testEdge, header http.Header) (int, Error) {
	t.Helper()
	r, err := http.NewRequestWithContext(deadlined(t), http.MethodGet, e.url+ConnectPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var refusal Error
	if err := json.NewDecoder(answer.Body).Decode(&refusal); err != nil {
		t.Fatalf("status %d, the body is not JSON: %v", answer.StatusCode, err)
	}
	return answer.StatusCode, refusal
}

func TestStreamHandshakeIsRefused(t *testing.T) {
	e := newEdge(t)
	a, other := welcomedRawAgent(t, e, ""), welcomedRawAgent(t, e, "")
	for name, c := range map[string]struct {
		id, token, connection string
		status                int
	}{
		"no token":              {a.id, "", "Upgrade", 401},
		"a wrong token":         {a.id, "wrong", "Upgrade", 401},
		"another agent's token": {a.id, other.welcome.StreamToken, "Upgrade", 401},
		"an unknown agent":      {uuid.NewString(), a.welcome.StreamToken, "Upgrade", 401},
		"no upgrade":            {a.id, a.welcome.StreamToken, "close", 400},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			header.Set("Connection", c.connection)
			header.Set("Upgrade", StreamProtocol)
			header.Set(HeaderAgentID, c.id)
			header.Set(HeaderStream, c.token)
			if status, refusal := get(t, e, header); status != c.status {
				t.Errorf("status %d, %+v, want %d", status, refusal, c.status)
			}
		})
	}
}

// What the edge refuses after the upgrade reaches the agent's operator with
// its code and its whole text, however long.
func TestRefusalReachesTheAgent(t *testing.T) {
	long := strings.Repeat("an explanation that does not fit into a close frame; ", 5)
	for name, c := range map[string]struct {
		change func(*ClientOptions)
		code   Code
		text   string
	}{
		"wrong token":    {func(o *ClientOptions) { o.Token = "wrong" }, CodeUnauthorized, "the join token is not valid"},
		"another's id":   {func(o *ClientOptions) { o.AgentKey = "of another host" }, CodeAgentIDTaken, "the agent id belongs to another host"},
		"removed":        {func(o *ClientOptions) { o.AgentKey = "removed" }, CodeAgentRemoved, long},
		"no capacity":    {func(o *ClientOptions) { h := o.Hello(); h.Capacity = 0; o.Hello = func() Hello { return h } }, CodeBadRequest, "capacity is 0, want at least 1"},
		"a wrong scheme": {func(o *ClientOptions) { o.Edges = []string{"ftp://127.0.0.1"} }, CodeBadRequest, `the edge's address is "ftp://127.0.0.1", want https://HOST or https://HOST:PORT`},
		"no token":       {func(o *ClientOptions) { o.Token = "" }, CodeUnauthorized, "a join token is needed: Authorization: Bearer TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTLSEdge(t, func(o *HubOptions) {
				admit := o.Admit
				o.Admit = func(ctx context.Context, h Hello, token, key string) error {
					if key == "removed" {
						return Errorf(CodeAgentRemoved, "%s", long)
					}
					return admit(ctx, h, token, key)
				}
			})
			o := agentOptions(e)
			c.change(&o)
			err := NewClient(o).Run(deadlined(t))
			wantCode(t, err, c.code)
			if err.Error() != c.text {
				t.Errorf("text %q, want %q", err, c.text)
			}
		})
	}
}

func TestAnAgentIsToldWhenTheEdgeCannotCheckIt(t *testing.T) {
	e := newEdge(t, func(o *HubOptions) {
		o.Admit = func(context.Context, Hello, string, string) error {
			return errors.New("database is locked: /secret/path")
		}
	})
	a := newRawAgent(t, e, "")
	a.say(Envelope{Hello: &Hello{AgentID: a.id, Capacity: 1, Weight: 1}})
	err := a.ended()
	wantCode(t, err, CodeUnavailable)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the edge's own error leaks: %v", err)
	}
}

// After it once was welcomed, a refusal does not end the agent.
func TestALaterRefusalIsRetried(t *testing.T) {
	refuse := make(chan bool, 1)
	refuse <- false
	asked := make(chan struct{}, 16)
	e := newEdge(t, func(o *HubOptions) {
		o.Admit = func(context.Context, Hello, string, string) error {
			no := <-refuse
			refuse <- no
			asked <- struct{}{}
			if no {
				return Errorf(CodeUnauthorized, "the join token is not valid")
			}
			return nil
		}
	})
	a, _ := connected(t, e, nil)
	<-asked
	<-refuse
	refuse <- true
	e.hub.Disconnect(a.id, Errorf(CodeTimeout, "a test"))
	e.next("down")
	<-asked
	select {
	case err := <-a.result:
		t.Fatalf("the agent ended: %v", err)
	default:
	}
	if wait := a.waitAfter(Errorf(CodeUnauthorized, ""), &backoff{}); wait < lastBackoff/2 {
		t.Errorf("it tries again after %v, want at least %v", wait, lastBackoff/2)
	}
}

func TestAnAgentThatIsRemovedEnds(t *testing.T) {
	e := newEdge(t)
	a, _ := connected(t, e, nil)
	e.hub.Disconnect(a.id, Errorf(CodeAgentRemoved, "an operator removed this agent"))
	select {
	case err := <-a.result:
		wantCode(t, err, CodeAgentRemoved)
		a.result <- nil // for end
	case <-time.After(hang):
		t.Error("it tries to come back")
	}
}

func TestGarbageOnTheControlChannel(t *testing.T) {
	raw := func(kind websocket.MessageType, text string) func(*rawAgent) {
		return func(a *rawAgent) {
			if err := a.ws.Write(deadlined(a.t), kind, []byte(text)); err != nil {
				a.t.Fatal(err)
			}
		}
	}
	for name, say := range map[string]func(*rawAgent){
		"not JSON":       raw(websocket.MessageText, "RFB 003.008\n"),
		"binary":         raw(websocket.MessageBinary, `{"beat":{"seq":1}}`),
		"nothing":        raw(websocket.MessageText, ""),
		"no part":        raw(websocket.MessageText, `{}`),
		"two parts":      raw(websocket.MessageText, `{"beat":{"seq":1},"bye":{}}`),
		"a wrong type":   raw(websocket.MessageText, `{"beat":{"seq":"one"}}`),
		"unknown":        raw(websocket.MessageText, `{"format_disk":{}}`),
		"an edge's part": raw(websocket.MessageText, `{"welcome":{}}`),
		"oversize":       raw(websocket.MessageText, `{"bye":{"reason":"`+strings.Repeat("x", MaxMessage)+`"}}`),
		"no session":     raw(websocket.MessageText, `{"state":{"state":"running"}}`),
	} {
		t.Run("as hello: "+name, func(t *testing.T) {
			a := newRawAgent(t, newEdge(t), "")
			say(a)
			wantCode(t, a.ended(), CodeBadRequest)
		})
		t.Run("later: "+name, func(t *testing.T) {
			e := newEdge(t)
			a := welcomedRawAgent(t, e, "")
			e.next("up")
			say(a)
			wantCode(t, a.ended(), CodeBadRequest)
			if down := e.next("down"); down.down.Reason == "" {
				t.Error("down without a reason")
			}
		})
	}
	t.Run("another agent's id in the hello", func(t *testing.T) {
		a := newRawAgent(t, newEdge(t), "")
		a.say(Envelope{Hello: &Hello{AgentID: uuid.NewString(), Capacity: 1, Weight: 1}})
		wantCode(t, a.ended(), CodeBadRequest)
	})
	t.Run("a cut connection", func(t *testing.T) {
		e := newEdge(t)
		a := welcomedRawAgent(t, e, "")
		e.next("up")
		_ = a.ws.CloseNow()
		e.next("down")
	})
}

func TestGarbageOnAStreamConnection(t *testing.T) {
	frame := func(kind byte, size uint16, payload string) []byte {
		return append([]byte{kind, byte(size >> 8), byte(size)}, payload...)
	}
	answers := map[string][]byte{
		"an unknown type":     frame(9, 0, ""),
		"a short echo answer": frame(4, 7, "1234567"),
		"another echo answer": frame(4, 8, "12345678"),
		"an oversize answer":  frame(2, 65535, "{}"),
		"an open":             frame(1, 2, "{}"),
		"a truncated frame":   frame(4, 8, "123"),
		"a truncated header":  {4},
		"nothing":             {},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t)
			a := welcomedRawAgent(t, e, "")
			good, goodReader := a.stream()
			waitSpares(t, e, a.id, 1)
			bad, badReader := a.stream() // the younger is taken first
			waitSpares(t, e, a.id, 2)
			opened := make(chan error, 1)
			go func() {
				conn, err := e.hub.Open(deadlined(t), a.id, request(1))
				if err == nil {
					err = conn.Close()
				}
				opened <- err
			}()
			if _, _, err := readFrame(badReader); err != nil {
				t.Fatal(err)
			}
			if _, err := bad.Write(answer); err != nil {
				t.Fatal(err)
			}
			_ = closeWrite(bad) // the edge may have closed it already
			a.acceptOpen(good, goodReader)
			if err := <-opened; err != nil {
				t.Errorf("open: %v", err)
			}
		})
	}
	t.Run("an open answer that is not JSON", func(t *testing.T) {
		e := newEdge(t)
		a := welcomedRawAgent(t, e, "")
		conn, reader := a.stream()
		failed := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			_, err := e.hub.Open(ctx, a.id, request(1))
			failed <- err
		}()
		a.answerEcho(conn, reader)
		if _, err := conn.Write(appendFrame(nil, frameOpenAnswer, []byte("no"))); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, reader) // until the hub gives it up
		cancel()
		wantCode(t, <-failed, CodeTimeout)
	})
	t.Run("bytes before they are asked for", func(t *testing.T) {
		e := newEdge(t)
		a := welcomedRawAgent(t, e, "")
		conn, err := net.Dial("tcp", a.dialer.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(hang))
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n%s: %s\r\n\r\nRFB 003.008\n",
			ConnectPath, StreamProtocol, HeaderAgentID, a.id, HeaderStream, a.welcome.StreamToken); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // the 101, and then the end
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101")) {
			t.Errorf("answer %q", answer)
		}
		waitSpares(t, e, a.id, 0)
	})
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

func TestAnEdgeThatIsNotOne(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"a web server": {func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }, "is there a streamspace edge"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != ConnectPath {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "https://edge.example.org/elsewhere", http.StatusPermanentRedirect)
		}, "redirect to https://edge.example.org/elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: c.handler}
			served := make(chan struct{})
			go func() { defer close(served); _ = server.Serve(listener) }()
			defer func() { _ = server.Close(); <-served }()
			d, err := newDialer(Home{URL: "http://" + listener.Addr().String()}, ClientOptions{Token: "secret-token"}, dialTCP)
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.control(deadlined(t), uuid.NewString())
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret-token") {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestAClosedHubRefuses(t *testing.T) {
	e := newEdge(t)
	a, _ := connected(t, e, nil)
	if err := e.hub.Close(deadlined(t)); err != nil {
		t.Fatal(err)
	}
	down := e.next("down")
	if down.agent != a.id {
		t.Errorf("down %+v", down)
	}
	_, err := newDialerOf(t, e).control(deadlined(t), uuid.NewString())
	wantCode(t, err, CodeNodeDraining)
	_, err = e.hub.Open(deadlined(t), a.id, request(1))
	wantCode(t, err, CodeAgentOffline)
}

func newDialerOf(t *testing.T, e *testEdge) *dialer {
	d, err := newDialer(Home{URL: e.url}, agentOptions(e), dialTCP)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNoCredentialIsLogged(t *testing.T) {
	var logged bytes.Buffer
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(&logged)), zap.DebugLevel))
	e := newEdge(t, func(o *HubOptions) { o.Log = log })
	a, _ := connected(t, e, func(o *ClientOptions) { o.Log = log; o.Open = vncServer(t, echoServer) })
	roundTrip(t, mustOpen(t, e, a.id, request(1)), "hello")
	live, err := e.hub.live(a.id)
	if err != nil {
		t.Fatal(err)
	}
	o := agentOptions(e)
	o.Token, o.Log = "another-secret", log
	wantCode(t, NewClient(o).Run(deadlined(t)), CodeUnauthorized)
	a.end(t)
	e.next("down")
	if err := e.hub.Close(deadlined(t)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{testToken, testKey, live.token, "another-secret"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	for _, line := range []string{"tunnel up", "tunnel down", "stream open", "stream ended"} {
		if !strings.Contains(logged.String(), line) {
			t.Errorf("no line %q in the log", line)
		}
	}
}
