package balancer

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// examine finds requests that could mean something else to an upstream than to
// the edge, and those that a balancer does not serve. has is which of the special
// headers the request has.
func examine(ctx *fasthttp.RequestCtx) (has fields, why *refusal) {
	h := &ctx.Request.Header
	bad := func(detail string) *refusal {
		return &refusal{status: fasthttp.StatusBadRequest, code: "bad_request", detail: detail}
	}
	var lengths, encodings, hosts int
	var encoding, line []byte
	for raw := h.RawHeaders(); len(raw) > 0; {
		line, raw, _ = bytes.Cut(raw, []byte{'\n'})
		name, value, _ := bytes.Cut(line, []byte{':'})
		field := fieldOf(name)
		has |= field
		switch {
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t') && len(bytes.TrimSpace(line)) > 0:
			return has, bad("a header is folded over two lines")
		case field == fieldContentLength:
			lengths++
		case field == fieldTransferEncoding:
			encodings++
			encoding = bytes.TrimSpace(value)
		case field == fieldHost:
			hosts++
		}
	}
	switch version := string(h.Protocol()); {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		why = &refusal{status: fasthttp.StatusHTTPVersionNotSupported, code: "bad_version", detail: "this server speaks HTTP/1.1, and HTTP/2 over TLS"}
	case ctx.IsConnect():
		why = &refusal{status: fasthttp.StatusMethodNotAllowed, code: "connect_refused", detail: "this server is no forward proxy"}
	case hosts > 1:
		why = bad("the request has several Host headers")
	case lengths > 1:
		why = bad("the request has several Content-Length headers")
	case encodings > 0 && lengths > 0:
		why = bad("the request has both Content-Length and Transfer-Encoding")
	case encodings > 1, encodings == 1 && !bytes.EqualFold(encoding, []byte("chunked")):
		why = bad("the request has a Transfer-Encoding other than chunked")
	case encodings == 1 && !h.IsHTTP11():
		why = bad("an HTTP/1.0 request has no Transfer-Encoding")
	case has.has(fieldUpgrade) && hasToken(h.PeekAll(fasthttp.HeaderUpgrade), "h2c"):
		why = bad("h2c is not served here; use HTTP/2 over TLS")
	}
	return has, why
}
