package listen_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawAnswer sends one request of these fields, in turn name and value, and tells
// its status, or how the stream or the connection was ended.
func (d *door) rawAnswer(fields ...string) string {
	d.t.Helper()
	conn, err := tls.Dial("tcp", d.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(hang))
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		d.t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = framer.WriteSettings()
	rest := block.Bytes()
	first := rest[:min(len(rest), 16000)]
	rest = rest[len(first):]
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: true, EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		next := rest[:min(len(rest), 16000)]
		rest = rest[len(next):]
		_ = framer.WriteContinuation(1, len(rest) == 0, next)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		case *http2.GoAwayFrame:
			return frame.ErrCode.String()
		}
	}
}

// TestWhatHTTP2DoesNotAllowReachesNobody: what would mean something else as
// HTTP/1.1 (RFC 9113 sections 8.2.2 and 10.3) is refused.
func TestWhatHTTP2DoesNotAllowReachesNobody(t *testing.T) {
	var got []string
	d := openDoor(t, func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Host, " ", r.Header))
	}, nil)
	request := func(method, path string, more ...string) []string {
		return append([]string{":method", method, ":scheme", "https", ":authority", "a", ":path", path}, more...)
	}
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{request("GET", "/", "connection", "close"), "400"},
		{request("GET", "/", "connection", "x-forwarded-for"), "400"},
		{request("GET", "/", "keep-alive", "1"), "400"},
		{request("GET", "/", "proxy-connection", "close"), "400"},
		{request("GET", "/", "transfer-encoding", "chunked"), "400"},
		{request("GET", "/", "upgrade", "websocket"), "400"},
		{request("GET", "/", "te", "gzip"), "400"},
		{request("GET", "/", "x", "a\r\nX-Other: b"), "PROTOCOL_ERROR"},
		{request("GET", "/", "x y", "a"), "PROTOCOL_ERROR"},
		{request("GET", "/", "X-Upper", "a"), "PROTOCOL_ERROR"},
		{request("GET", "/", ":method", "PUT"), "PROTOCOL_ERROR"},
		{request("GET", "/a HTTP/1.1\r\nX: y"), "PROTOCOL_ERROR"},
		{request("GET", "/a HTTP/1.1"), "400"},
		{request("GET", "a"), "PROTOCOL_ERROR"},
		{request("GET x", "/"), "400"},
		{request("GET", "/", "content-length", "5"), "400"},
		{request("GET", "/", "x", strings.Repeat("y", 10000), "z", strings.Repeat("y", 10000)), "431"},
		{[]string{":method", "CONNECT", ":authority", "a:443"}, "405"},
		{[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "a"}, "PROTOCOL_ERROR"},
	} {
		if answer := d.rawAnswer(c.fields...); answer != c.want {
			t.Errorf("%.120q: %s, want %s", c.fields, answer, c.want)
		}
	}
	if len(got) > 0 {
		t.Errorf("reached the upstream: %q", got)
	}
	if answer := d.rawAnswer(request("GET", "/", "cookie", "a=1", "cookie", "b=2")...); answer != "200" || len(got) != 1 || !strings.Contains(got[0], "Cookie:[a=1; b=2]") {
		t.Errorf("split cookies: %s, %q", answer, got)
	}
}
