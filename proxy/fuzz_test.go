package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// FuzzClose reads close frames: what is taken can be sent on as it came.
func FuzzClose(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3})
	f.Add([]byte{3, 0xE8})
	f.Add([]byte{3, 0xED, 'x'})
	f.Add([]byte("\x0f\xa0words, naïve"))
	f.Add([]byte("\x03\xe8\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		code, text, err := parseClose(payload)
		switch {
		case err != nil:
			if len(payload) == 0 || len(payload) == 2 && validCloseCode(binary.BigEndian.Uint16(payload)) {
				t.Errorf("% x is refused: %v", payload, err)
			}
		case len(payload) == 0:
			if code != statusMissing || text != "" {
				t.Errorf("nothing is read as %d %q", code, text)
			}
		case !validCloseCode(code) || !utf8.ValidString(text):
			t.Errorf("% x is read as %d %q", payload, code, text)
		case len(payload) <= maxControl && !bytes.Equal(closeFrame(code, text)[2:], payload):
			t.Errorf("% x is sent on as % x", payload, closeFrame(code, text))
		}
	})
}

// FuzzRequest reads whole requests, as they come off the network. Who is let in
// has asked for what RFC 6455 section 4.2.1 lists, and nothing that the request
// says gets into the response but by way of the key's hash.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(request(goodHeaders()...)))
	f.Add([]byte(asked("/ws/vnc?token="+ticket, "Sec-WebSocket-Protocol: base64, binary", "Origin: null")))
	f.Add([]byte(asked("/ws/vnc", "Connection: keep-alive", "Connection: upgrade", "Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n\r\n"))
	f.Add([]byte(asked("/ws/vnc", "Content-Length: 3", "Sec-WebSocket-Version: 8") + "abc"))
	f.Add([]byte("GET / HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var ctx fasthttp.RequestCtx
		if err := ctx.Request.ReadLimitBody(bufio.NewReader(bytes.NewReader(text)), 1<<16); err != nil {
			return
		}
		h, refusal := parseHandshake(&ctx)
		if refusal != nil {
			if status := refusal.Reason.Info().Status; status < 400 || status > 499 {
				t.Errorf("refused with %d", status)
			}
			return
		}
		header := &ctx.Request.Header
		for name, ok := range map[string]bool{
			"GET":                     ctx.IsGet(),
			"HTTP/1.1":                header.IsHTTP11(),
			"Connection: upgrade":     strings.Contains(strings.ToLower(strings.Join(headerValues(header, "Connection"), ",")), "upgrade"),
			"Upgrade: websocket":      strings.Contains(strings.ToLower(strings.Join(headerValues(header, "Upgrade"), ",")), "websocket"),
			"a key":                   validKey(h.key),
			"no body":                 len(ctx.Request.Body()) == 0,
			"Sec-WebSocket-Version":   string(header.Peek("Sec-WebSocket-Version")) == "13",
			"binary only where asked": !h.binary || strings.Contains(strings.Join(headerValues(header, "Sec-WebSocket-Protocol"), ","), subprotocol),
		} {
			if !ok {
				t.Errorf("%q is let in without %s", text, name)
			}
		}
		h.key = ""
		if again := (handshake{binary: h.binary}).response(); !bytes.Equal(h.response(), again) {
			t.Errorf("%q is answered with %q", text, h.response())
		}
	})
}
