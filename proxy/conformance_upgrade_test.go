package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// asked is a good request with some lines replaced: each replacement takes the
// place of all headers of its name, and "Name" alone takes them away.
func asked(path string, replacements ...string) string {
	headers := append([]string{"Host: edge.example.org"}, goodHeaders()...)
	for _, line := range replacements {
		name, _, _ := strings.Cut(line, ":")
		headers = slices.DeleteFunc(headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), strings.ToLower(name)+":") })
	}
	for _, line := range replacements {
		if strings.Contains(line, ":") {
			headers = append(headers, line)
		}
	}
	return "GET " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func TestConformanceUpgradesThatAreAccepted(t *testing.T) {
	const path, withToken = "/ws/vnc", "/ws/vnc?token=" + ticket
	transports(t, func(t *testing.T, options ...edgeOption) {
		c := startConformance(t, options...)
		for name, test := range map[string]struct {
			request     string
			subprotocol string // in the answer
		}{
			"as usual":                              {asked(path), "binary"},
			"Connection in capitals":                {asked(path, "Connection: UPGRADE"), "binary"},
			"Connection as a list":                  {asked(path, "Connection: keep-alive,,upgrade , te"), "binary"},
			"Connection twice":                      {asked(path, "Connection: keep-alive", "Connection: Upgrade"), "binary"},
			"Upgrade in odd letters":                {asked(path, "Upgrade: wEbSoCkEt"), "binary"},
			"Upgrade as a list":                     {asked(path, "Upgrade: h2c, websocket"), "binary"},
			"names of headers in small letters":     {strings.NewReplacer("Sec-WebSocket", "sec-websocket", "Upgrade:", "upgrade:").Replace(asked(path)), "binary"},
			"spaces around the key":                 {asked(path, "Sec-WebSocket-Key:   "+sampleKey+"  "), "binary"},
			"an empty body":                         {asked(path, "Content-Length: 0"), "binary"},
			"subprotocols without spaces":           {asked(path, "Sec-WebSocket-Protocol: binary,"+ticket), "binary"},
			"subprotocols in two headers":           {asked(path, "Sec-WebSocket-Protocol: binary", "Sec-WebSocket-Protocol: "+ticket), "binary"},
			"no subprotocol":                        {asked(withToken, "Sec-WebSocket-Protocol"), ""},
			"another subprotocol":                   {asked(withToken, "Sec-WebSocket-Protocol: base64"), ""},
			"another subprotocol before":            {asked(withToken, "Sec-WebSocket-Protocol: base64, binary"), "binary"},
			"another subprotocol behind":            {asked(withToken, "Sec-WebSocket-Protocol: binary, base64"), "binary"},
			"a subprotocol that only looks alike":   {asked(withToken, "Sec-WebSocket-Protocol: Binary"), ""},
			"compression offered":                   {asked(path, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), "binary"},
			"several extensions offered":            {asked(path, "Sec-WebSocket-Extensions: permessage-deflate, x-webkit-deflate-frame", "Sec-WebSocket-Extensions: foo; bar=1"), "binary"},
			"an extension's header that is no list": {asked(path, `Sec-WebSocket-Extensions: ;;"`), "binary"},
			"a page of the edge's own":              {asked(path, "Origin: http://edge.example.org"), "binary"},
			"the request's header almost at 4 KiB":  {asked(path, "Cookie: "+strings.Repeat("x", 3000)), "binary"},
		} {
			t.Run(name, func(t *testing.T) {
				for _, piece := range []int{len(test.request), 1} {
					conn := c.connect()
					v := &rawViewer{Conn: conn, t: t, r: bufio.NewReader(conn)}
					for part := range slices.Chunk([]byte(test.request), piece) {
						v.write(part)
					}
					response, err := http.ReadResponse(v.r, nil)
					if err != nil {
						t.Fatal(err)
					}
					h := response.Header
					if response.StatusCode != 101 || !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade") ||
						h.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || h.Get("Sec-WebSocket-Extensions") != "" {
						t.Errorf("%s %v", response.Status, h)
					}
					if got := h.Values("Sec-WebSocket-Protocol"); strings.Join(got, ",") != test.subprotocol {
						t.Errorf("subprotocol %q, not %q", got, test.subprotocol)
					}
					v.exchangeGreetings()
					v.leave([]byte{0x03, 0xE8})
					v.wantClose(ViewerLeft)
				}
			})
		}
	})
}

func TestConformanceUpgradesThatAreRefused(t *testing.T) {
	const path = "/ws/vnc"
	transports(t, func(t *testing.T, options ...edgeOption) {
		c := startConformance(t, options...)
		for name, test := range map[string]struct {
			request string
			status  int
		}{
			"POST":                        {"POST" + asked(path, "Content-Length: 0")[3:], 405},
			"OPTIONS":                     {"OPTIONS" + asked(path)[3:], 405},
			"no Upgrade":                  {asked(path, "Upgrade"), 426},
			"Upgrade to something alike":  {asked(path, "Upgrade: websockets"), 426},
			"no Connection":               {asked(path, "Connection"), 400},
			"Connection: close":           {asked(path, "Connection: close"), 400},
			"HTTP/1.0":                    {strings.Replace(asked(path), "HTTP/1.1", "HTTP/1.0", 1), 400},
			"no Host":                     {asked(path, "Host"), 400},
			"two Hosts":                   {asked(path, "Host: edge.example.org", "Host: other.example.org"), 400},
			"no version":                  {asked(path, "Sec-WebSocket-Version"), 426},
			"version 0":                   {asked(path, "Sec-WebSocket-Version: 0"), 426},
			"version 8":                   {asked(path, "Sec-WebSocket-Version: 8"), 426},
			"version 14":                  {asked(path, "Sec-WebSocket-Version: 14"), 426},
			"version 013":                 {asked(path, "Sec-WebSocket-Version: 013"), 426},
			"versions 13, 8":              {asked(path, "Sec-WebSocket-Version: 13, 8"), 426},
			"two versions":                {asked(path, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"), 426},
			"a version of words":          {asked(path, "Sec-WebSocket-Version: new"), 426},
			"no key":                      {asked(path, "Sec-WebSocket-Key"), 400},
			"an empty key":                {asked(path, "Sec-WebSocket-Key: "), 400},
			"two keys":                    {asked(path, "Sec-WebSocket-Key: "+sampleKey, "Sec-WebSocket-Key: "+sampleKey), 400},
			"a key of 15 bytes":           {asked(path, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400},
			"a key of 17 bytes":           {asked(path, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="), 400},
			"a key without its padding":   {asked(path, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400},
			"a key with loose bits":       {asked(path, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="), 400},
			"a key of another alphabet":   {asked(path, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25_-_=="), 400},
			"a key with a space in it":    {asked(path, "Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ=="), 400},
			"a key that is no base64":     {asked(path, "Sec-WebSocket-Key: !!hlIHNhbXBsZSBub25jZQ=="), 400},
			"a body":                      {asked(path, "Content-Length: 3") + "abc", 400},
			"a body in chunks":            {asked(path, "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", 400},
			"a length that is none":       {asked(path, "Content-Length: x"), 400},
			"no ticket":                   {asked(path, "Sec-WebSocket-Protocol"), 401},
			"no subprotocol but one":      {asked(path, "Sec-WebSocket-Protocol: binary"), 401},
			"a ticket that comes first":   {asked(path, "Sec-WebSocket-Protocol: "+ticket+", binary"), 401},
			"another site's page":         {asked(path, "Origin: https://evil.example"), 403},
			"two origins":                 {asked(path, "Origin: https://edge.example.org", "Origin: https://edge.example.org"), 403},
			"a header without a colon":    {strings.Replace(asked(path), "Upgrade: websocket", "Upgrade websocket", 1), 400},
			"a header of more than 4 KiB": {asked(path, "Cookie: "+strings.Repeat("x", 5000)), 431},
			"no HTTP at all":              {"RFB 003.008\n\r\n\r\n", 400},
		} {
			t.Run(name, func(t *testing.T) {
				// Frames behind a request that is refused are no other request.
				v, response := c.send(test.request + string(binaryFrame("GET /ws/vnc HTTP/1.1\r\n\r\n")))
				if response.StatusCode != test.status {
					t.Errorf("%s, not %d", response.Status, test.status)
				}
				if _, ok := response.Header["Sec-Websocket-Accept"]; ok {
					t.Errorf("a refusal with %v", response.Header)
				}
				if response.StatusCode == 426 && response.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("%v does not say which version is spoken", response.Header)
				}
				body, _ := io.ReadAll(response.Body)
				rest, _ := io.ReadAll(v.r) // a reset ends it as well: the frame was not read
				if bytes.Contains(rest, []byte("HTTP/1.1")) {
					t.Errorf("a second answer: %q", rest)
				}
				if bytes.Contains(body, []byte(ticket)) {
					t.Errorf("the answer repeats the ticket: %q", body)
				}
			})
		}
		if n := c.Active(); n != 0 {
			t.Errorf("%d streams were begun", n)
		}
	})
}

// A viewer may send its first frames without waiting for the answer: RFC 6455
// forbids it, but where they come together nothing of them may be lost.
func TestConformanceFramesBehindTheRequest(t *testing.T) {
	payload := pattern(20_000)
	small := join(binaryFrame(greeting), binaryFrame("one"), binaryFrame("two"))
	broken := join(fragments([]byte(greeting), 1, nil), binaryFrame("onetwo"))
	large := join(binaryFrame(greeting), clientFrame(true, opBinary, payload))
	for name, test := range map[string]struct {
		sends []byte
		ahead int // bytes of it that come with the request
		want  []byte
	}{
		"the greeting":                 {small, len(binaryFrame(greeting)), []byte("onetwo")},
		"the greeting in fragments":    {broken, len(broken) - len(binaryFrame("onetwo")), []byte("onetwo")},
		"half a frame":                 {small, 9, []byte("onetwo")},
		"one byte":                     {small, 1, []byte("onetwo")},
		"the greeting and messages":    {small, len(small), []byte("onetwo")},
		"more than the server buffers": {large, len(large), payload},
	} {
		t.Run(name, func(t *testing.T) {
			transports(t, func(t *testing.T, options ...edgeOption) {
				c := startConformance(t, options...)
				v, response := c.send(request(goodHeaders()...) + string(test.sends[:test.ahead]))
				if response.StatusCode != 101 {
					t.Fatal(response.Status)
				}
				v.write(test.sends[test.ahead:])
				if op, b := v.frame(); op != opBinary || string(b) != greeting {
					t.Fatalf("frame %x %q", op, b)
				}
				var got []byte
				for len(got) < len(test.want) {
					if op, b := v.frame(); op == opBinary {
						got = append(got, b...)
					}
				}
				if !bytes.Equal(got, test.want) {
					t.Errorf("%s came back of %s", shown(got), shown(test.want))
				}
				v.leave([]byte{0x03, 0xE8})
				v.wantClose(ViewerLeft)
			})
		})
	}
}

func TestConformanceQueryAndSubprotocolTickets(t *testing.T) {
	for name, test := range map[string]struct{ path, protocols, want string }{
		"query alone":            {"/ws/vnc?token=q", "", "q"},
		"subprotocol alone":      {"/ws/vnc", "binary, s", "s"},
		"query and subprotocols": {"/ws/vnc?token=q", "binary, base64", "q"},
		"an empty query":         {"/ws/vnc?token=", "binary, s", "s"},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := make(chan string, 1)
			server := startVNC(t, echo)
			e := startEdge(t, Options{Authorize: func(_ context.Context, token string) (Grant, error) {
				tokens <- token
				return Grant{Session: "session-1"}, nil
			}}, server.addr)
			lines := []string{"Sec-WebSocket-Protocol"}
			if test.protocols != "" {
				lines = []string{"Sec-WebSocket-Protocol: " + test.protocols}
			}
			v, response := e.send(asked(test.path, lines...))
			if got := <-tokens; got != test.want || response.StatusCode != 101 {
				t.Errorf("%s with the ticket %q, not %q", response.Status, got, test.want)
			}
			for _, line := range response.Header {
				if fmt.Sprint(line) == "["+test.want+"]" {
					t.Errorf("the ticket is in the answer: %v", response.Header)
				}
			}
			v.Close()
		})
	}
}
