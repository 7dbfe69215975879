package balancer

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// examine finds requests that could mean something else to an upstream than to
// the edge, and those that a balancer does not serve. has is which of the special
// headers the request has. Those that some upstreams would take for them go.
func examine(ctx *fasthttp.RequestCtx) (has fields, why *refusal) {
	h := &ctx.Request.Header
	bad := func(detail string) *refusal {
		return &refusal{status: fasthttp.StatusBadRequest, code: "bad_request", detail: detail}
	}
	var lengths, encodings, hosts int
	var encoding, host, line []byte
	for raw := h.RawHeaders(); len(raw) > 0; {
		line, raw, _ = bytes.Cut(raw, []byte{'\n'})
		name, value, _ := bytes.Cut(line, []byte{':'})
		field := fieldOf(name)
		if field == 0 && isDisguised(name) {
			h.Del(string(name))
		}
		has |= field
		switch {
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t') && len(bytes.TrimSpace(line)) > 0:
			return has, bad("a header is folded over two lines")
		case len(line) > 0 && line[len(line)-1] != '\r':
			return has, bad("a line of the header ends in a bare LF; it has to be CR and LF")
		case bytes.IndexByte(name, ' ') >= 0: // all else that a name can't have the server refuses
			return has, bad("the name of a header has a space in it")
		case field == fieldContentLength:
			lengths++
		case field == fieldTransferEncoding:
			encodings++
			encoding = bytes.TrimSpace(value)
		case field == fieldHost:
			hosts++
			host = value
		}
	}
	switch version := string(h.Protocol()); {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		why = &refusal{status: fasthttp.StatusHTTPVersionNotSupported, code: "bad_version", detail: "this server speaks HTTP/1.1, and HTTP/2 over TLS"}
	case ctx.IsConnect():
		why = &refusal{status: fasthttp.StatusMethodNotAllowed, code: "connect_refused", detail: "this server is no forward proxy"}
	case badTarget(h.RequestURI()):
		why = bad("the target of the request is not the path or the http:// address of a page, without a fragment")
	case hosts > 1:
		why = bad("the request has several Host headers")
	case bytes.IndexByte(host, '@') >= 0:
		why = bad("the Host header names a user")
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

// badTarget tells what parsers make different things of: fragments, which some
// cut off, and addresses that name a user or no web server.
func badTarget(target []byte) bool {
	if bytes.IndexByte(target, '#') >= 0 {
		return true
	}
	if target[0] == '/' || string(target) == "*" {
		return false
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if end := bytes.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	return !ok || bytes.IndexByte(rest, '@') >= 0 || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https"))
}
