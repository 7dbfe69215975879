package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestHandshakesThatAreRefused(t *testing.T) {
	without := func(name string, instead ...string) string {
		headers := slices.DeleteFunc(goodHeaders(), func(h string) bool { return strings.HasPrefix(h, name+":") })
		return request(append(headers, instead...)...)
	}
	server := startVNC(t, echo)
	e := startEdge(t, Options{}, server.addr)
	for name, test := range map[string]struct {
		request string
		reason  Reason
		header  string // that the answer has
	}{
		"POST":                   {strings.Replace(request(goodHeaders("Content-Length: 0")...), "GET", "POST", 1), WrongMethod, "Allow: GET"},
		"no upgrade":             {without("Upgrade"), NotWebSocket, "Upgrade: websocket"},
		"another upgrade":        {without("Upgrade", "Upgrade: h2c"), NotWebSocket, "Upgrade: websocket"},
		"no connection":          {without("Connection"), BadHandshake, ""},
		"connection keep-alive":  {without("Connection", "Connection: keep-alive"), BadHandshake, ""},
		"HTTP/1.0":               {strings.Replace(request(goodHeaders()...), "HTTP/1.1", "HTTP/1.0", 1), BadHandshake, ""},
		"no version":             {without("Sec-WebSocket-Version"), BadVersion, "Sec-Websocket-Version: 13"},
		"version 8":              {without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), BadVersion, "Sec-Websocket-Version: 13"},
		"no key":                 {without("Sec-WebSocket-Key"), BadHandshake, ""},
		"two keys":               {request(goodHeaders("Sec-WebSocket-Key: " + sampleKey)...), BadHandshake, ""},
		"key of 15 bytes":        {without("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), BadHandshake, ""},
		"key that is not base64": {without("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!hlIHNhbXBsZSBub25jZQ=="), BadHandshake, ""},
		"a body":                 {request(goodHeaders("Content-Length: 3")...) + "abc", BadHandshake, ""},
		"no ticket":              {without("Sec-WebSocket-Protocol"), BadTicket, ""},
		"binary only":            {without("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: binary"), BadTicket, ""},
		"another site":           {request(goodHeaders("Origin: https://evil.example")...), OriginDenied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, response := e.send(test.request)
			wantProblem(t, response, test.reason)
			if name, value, _ := strings.Cut(test.header, ": "); response.Header.Get(name) != value {
				t.Errorf("%v lack %q", response.Header, test.header)
			}
		})
	}
	if n := server.accepted.Load(); n != 0 {
		t.Errorf("%d connections to the VNC server", n)
	}
}

func wantProblem(t *testing.T, response *http.Response, reason Reason) {
	t.Helper()
	var problem struct {
		Type, Title, Detail, Code string
		Status                    int
		RequestID                 string `json:"request_id"`
	}
	if err := json.NewDecoder(response.Body).Decode(&problem); err != nil {
		t.Fatal(err)
	}
	info := reason.Info()
	if response.StatusCode != info.Status || problem.Status != info.Status || problem.Code != string(reason) ||
		problem.Title == "" || problem.Detail == "" || problem.Type == "" || problem.RequestID == "" ||
		response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %v %+v for %s", response.Status, response.Header, problem, reason)
	}
	if wants := info.Status == 503 || info.Status == 429; (response.Header.Get("Retry-After") != "") != wants {
		t.Errorf("%s: Retry-After %q", reason, response.Header.Get("Retry-After"))
	}
}

func TestRefusalsOfAuthorizeAreAnswers(t *testing.T) {
	server := startVNC(t, echo)
	for _, info := range Reasons() {
		t.Run(string(info.Reason), func(t *testing.T) {
			e := startEdge(t, Options{Authorize: func(_ context.Context, token string) (Grant, error) {
				if token != ticket {
					t.Errorf("token %q", token)
				}
				return Grant{}, &Refusal{Reason: info.Reason, Detail: "Because of the test."}
			}}, server.addr)
			_, response := e.send(request(goodHeaders()...))
			wantProblem(t, response, info.Reason)
			refused := e.logs.FilterMessage("viewer refused").All()
			if len(refused) != 1 || refused[0].ContextMap()["reason"] != string(info.Reason) || refused[0].ContextMap()["phase"] != "authorise" {
				t.Errorf("log: %v", refused)
			}
			if n := e.counter("streamspace_vnc_streams_total", string(info.Reason)); n != 1 {
				t.Errorf("the metric counts %v", n)
			}
		})
	}
	t.Run("an error that is no refusal", func(t *testing.T) {
		e := startEdge(t, Options{Authorize: func(context.Context, string) (Grant, error) {
			return Grant{}, errors.New("secret words of the database")
		}}, server.addr)
		_, response := e.send(request(goodHeaders()...))
		if response.StatusCode != 500 {
			t.Error(response.Status)
		}
		if b, _ := io.ReadAll(response.Body); strings.Contains(string(b), "secret words") {
			t.Errorf("the viewer is told %s", b)
		}
	})
}

func TestSubprotocolAndExtensions(t *testing.T) {
	server := startVNC(t, echo)
	e := startEdge(t, Options{}, server.addr)
	base := goodHeaders()[:4]
	for name, test := range map[string]struct {
		path    string
		headers []string
		want    string
	}{
		"ticket as subprotocol":         {"/ws/vnc", []string{"Sec-WebSocket-Protocol: binary, " + ticket}, "binary"},
		"in two headers":                {"/ws/vnc", []string{"Sec-WebSocket-Protocol: binary", "Sec-WebSocket-Protocol: " + ticket}, "binary"},
		"ticket in the query":           {"/ws/vnc?token=" + ticket, []string{"Sec-WebSocket-Protocol: binary"}, "binary"},
		"no subprotocol":                {"/ws/vnc?token=" + ticket, nil, ""},
		"an unknown subprotocol":        {"/ws/vnc?token=" + ticket, []string{"Sec-WebSocket-Protocol: chat"}, ""},
		"compression is not agreed on":  {"/ws/vnc?token=" + ticket, []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}, ""},
		"header names in other writing": {"/ws/vnc?token=" + ticket, []string{"sec-websocket-protocol: binary"}, "binary"},
	} {
		t.Run(name, func(t *testing.T) {
			head := strings.Replace(request(append(slices.Clone(base), test.headers...)...), "/ws/vnc", test.path, 1)
			_, response := e.send(head)
			h := response.Header
			if response.StatusCode != 101 || h.Get("Sec-WebSocket-Protocol") != test.want || h.Get("Sec-WebSocket-Extensions") != "" ||
				h.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("%s %v", response.Status, h)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	allowed := []string{"https://desk.example.org", "https://*.wild.example", "http://plain.example:8080", "not an origin"}
	for _, test := range []struct {
		origin, host string
		allowed      bool
	}{
		{"https://edge.example.org", "edge.example.org", true},
		{"https://edge.example.org", "EDGE.example.org", true},
		{"https://edge.example.org", "edge.example.org:443", true},
		{"https://edge.example.org:8443", "edge.example.org:8443", true},
		{"http://127.0.0.1:8080", "127.0.0.1:8080", true},
		{"https://[::1]:8443", "[::1]:8443", true},
		{"https://[::1]", "[::1]", true},
		{"https://edge.example.org", "edge.example.org:8443", false},
		{"https://edge.example.org:8443", "edge.example.org", false},
		{"https://desk.example.org", "edge", true},
		{"HTTPS://Desk.Example.Org", "edge", true},
		{"https://desk.example.org:443", "edge", true},
		{"http://desk.example.org", "edge", false},
		{"https://desk.example.org:444", "edge", false},
		{"https://desk.example.org.evil.example", "edge", false},
		{"https://evildesk.example.org", "edge", false},
		{"https://a.wild.example", "edge", true},
		{"https://a.b.wild.example", "edge", true},
		{"https://wild.example", "edge", false},
		{"https://evilwild.example", "edge", false},
		{"https://.wild.example", "edge", false},
		{"https://*.wild.example", "edge", false},
		{"http://plain.example:8080", "edge", true},
		{"http://plain.example", "edge", false},
		{"null", "edge", false},
		{"", "edge", false},
		{"https://", "edge", false},
		{"file://", "edge", false},
		{"https://desk.example.org/path", "edge", false},
		{"https://user@desk.example.org", "edge", false},
		{"not an origin", "edge", false},
	} {
		refusal := refuseOrigin([]string{test.origin}, test.host, allowed)
		if (refusal == nil) != test.allowed {
			t.Errorf("%q at %q: %v", test.origin, test.host, refusal)
		}
	}
	if refusal := refuseOrigin(nil, "edge", nil); refusal != nil {
		t.Errorf("no origin: %v", refusal)
	}
	if refusal := refuseOrigin([]string{"https://edge", "https://edge"}, "edge", nil); refusal == nil {
		t.Error("two origins are taken")
	}
	for _, entry := range allowed {
		if err := CheckOrigin(entry); (err != nil) != (entry == "not an origin") {
			t.Errorf("%q: %v", entry, err)
		}
	}
	for _, entry := range []string{"https://*", "https://a.*.example", "https://*.*.example", "ftp://a.example", "desk.example.org", "https://a.example/#", ""} {
		if CheckOrigin(entry) == nil {
			t.Errorf("%q is taken", entry)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add("GET", "websocket", "Upgrade", "13", sampleKey, "binary, ticket", "https://edge.example.org")
	f.Add("POST", "h2c, WebSocket", "keep-alive,upgrade", "8", "", ",,", "null")
	f.Fuzz(func(t *testing.T, method, upgrade, connection, version, key, protocol, origin string) {
		var ctx fasthttp.RequestCtx
		header := &ctx.Request.Header
		header.SetMethod(method)
		header.Set("Upgrade", upgrade)
		header.Set("Connection", connection)
		header.Set("Sec-WebSocket-Version", version)
		header.Set("Sec-WebSocket-Key", key)
		header.Set("Sec-WebSocket-Protocol", protocol)
		h, refusal := parseHandshake(&ctx)
		response := string(h.response())
		if refusal == nil && (!validKey(h.key) || h.binary != strings.Contains(response, "Sec-WebSocket-Protocol: binary\r\n")) {
			t.Errorf("%+v gives %q", h, response)
		}
		if strings.Count(response, "\r\n\r\n") != 1 || h.ticket != "" && h.ticket != subprotocol && len(h.ticket) > 8 && strings.Contains(response, h.ticket) {
			t.Errorf("response %q", response)
		}
		if refusal := refuseOrigin([]string{origin}, "edge.example.org", []string{"https://*.example.org"}); refusal == nil {
			if o, err := parseOrigin(origin); err != nil || !strings.HasSuffix(o.host, ".example.org") {
				t.Errorf("origin %q is let in", origin)
			}
		}
	})
}

// A handshake that fasthttp can't finish must not take a viewer's place.
func TestLimitIsExactAndIsFreedAgain(t *testing.T) {
	server := startVNC(t, echo)
	e := startEdge(t, Options{MaxStreams: 2}, server.addr)
	first, _ := e.viewRaw(), e.viewRaw()
	_, response := e.send(request(goodHeaders()...))
	wantProblem(t, response, LimitReached)
	first.exchangeGreetings()
	first.leave(nil)
	first.wantClose(ViewerLeft)
	eventually(t, "a place is free", func() bool { return e.Active() == 1 })
	e.viewRaw()
}

func TestPlaceTakenBetweenAuthoriseAndUpgradeIsRefusedToo(t *testing.T) {
	server := startVNC(t, echo)
	var e *edge
	var both sync.WaitGroup
	both.Add(2)
	e = startEdge(t, Options{MaxStreams: 1, Authorize: func(context.Context, string) (Grant, error) {
		both.Done()
		both.Wait() // until both have passed the first check
		return Grant{Session: "s"}, nil
	}}, server.addr)
	codes := make(chan int, 2)
	for range 2 {
		go func() {
			conn, err := net.Dial("tcp", e.addr)
			if err != nil {
				codes <- 0
				return
			}
			t.Cleanup(func() { conn.Close() })
			_, _ = io.WriteString(conn, request(goodHeaders()...))
			b := make([]byte, len("HTTP/1.1 101"))
			_, _ = io.ReadFull(conn, b)
			switch string(b) {
			case "HTTP/1.1 101":
				codes <- 101
			case "HTTP/1.1 503":
				codes <- 503
			default:
				codes <- -1
			}
		}()
	}
	if a, b := <-codes, <-codes; a+b != 101+503 {
		t.Errorf("%d and %d", a, b)
	}
}
