package balancer

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// examine finds requests that could mean something else to an upstream than to
// the edge, and those that a balancer does not serve.
func (b *Balancer) examine(ctx *fasthttp.RequestCtx) *refusal {
	h := &ctx.Request.Header
	bad := func(detail string) *refusal {
		return &refusal{status: fasthttp.StatusBadRequest, code: "bad_request", detail: detail}
	}
	var lengths, encodings, hosts int
	var encoding []byte
	for line := range bytes.SplitSeq(h.RawHeaders(), []byte{'\n'}) {
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t') && len(bytes.TrimSpace(line)) > 0:
			return bad("a header is folded over two lines")
		case bytes.EqualFold(name, []byte(fasthttp.HeaderContentLength)):
			lengths++
		case bytes.EqualFold(name, []byte(fasthttp.HeaderTransferEncoding)):
			encodings++
			encoding = bytes.TrimSpace(value)
		case bytes.EqualFold(name, []byte(fasthttp.HeaderHost)):
			hosts++
		}
	}
	switch version := string(h.Protocol()); {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return &refusal{status: fasthttp.StatusHTTPVersionNotSupported, code: "bad_version", detail: "this server speaks HTTP/1.1, and HTTP/2 over TLS"}
	case ctx.IsConnect():
		return &refusal{status: fasthttp.StatusMethodNotAllowed, code: "connect_refused", detail: "this server is no forward proxy"}
	case hosts > 1:
		return bad("the request has several Host headers")
	case lengths > 1:
		return bad("the request has several Content-Length headers")
	case encodings > 0 && lengths > 0:
		return bad("the request has both Content-Length and Transfer-Encoding")
	case encodings > 1, encodings == 1 && !bytes.EqualFold(encoding, []byte("chunked")):
		return bad("the request has a Transfer-Encoding other than chunked")
	case encodings == 1 && !h.IsHTTP11():
		return bad("an HTTP/1.0 request has no Transfer-Encoding")
	case hasToken(h.PeekAll(fasthttp.HeaderUpgrade), "h2c"):
		return bad("h2c is not served here; use HTTP/2 over TLS")
	}
	return nil
}
