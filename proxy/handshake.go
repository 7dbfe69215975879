package proxy

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// subprotocol is the one that viewers of VNC in a browser ask for.
const subprotocol = "binary"

// handshake is what a valid opening handshake (RFC 6455 section 4.2.1) tells.
// Its strings are copies: fasthttp uses the request's memory again.
type handshake struct {
	key    string
	binary bool   // the client offered subprotocol
	ticket string // empty: none came
}

// parseHandshake reads the request of ctx. The ticket is the query's token, or
// without one what follows subprotocol where that is the first value of
// Sec-WebSocket-Protocol. A client that gives a token may offer further
// subprotocols, in any order.
func parseHandshake(ctx *fasthttp.RequestCtx) (handshake, *Refusal) {
	header := &ctx.Request.Header
	bad := func(reason Reason, detail string) (handshake, *Refusal) {
		return handshake{}, &Refusal{Reason: reason, Detail: detail}
	}
	key := headerValues(header, "Sec-WebSocket-Key")
	version := headerValues(header, "Sec-WebSocket-Version")
	switch {
	case !ctx.IsGet():
		return bad(WrongMethod, "")
	case !hasToken(headerValues(header, "Upgrade"), "websocket"):
		return bad(NotWebSocket, "")
	case !header.IsHTTP11():
		return bad(BadHandshake, "A WebSocket needs HTTP/1.1.")
	case !hasToken(headerValues(header, "Connection"), "upgrade"):
		return bad(BadHandshake, `The Connection header lacks "Upgrade"; a proxy in between may have removed it.`)
	case len(version) != 1 || version[0] != "13":
		return bad(BadVersion, "")
	case len(key) != 1 || !validKey(key[0]):
		return bad(BadHandshake, "Sec-WebSocket-Key must be 16 bytes in base64, once.")
	case header.ContentLength() > 0 || header.ContentLength() == -1:
		return bad(BadHandshake, "A WebSocket handshake has no body.")
	}
	h := handshake{key: key[0], ticket: string(ctx.QueryArgs().Peek("token"))}
	offered := tokens(headerValues(header, "Sec-WebSocket-Protocol"))
	h.binary = slices.Contains(offered, subprotocol)
	if h.ticket == "" && len(offered) > 1 && offered[0] == subprotocol {
		h.ticket = offered[1]
	}
	return h, nil
}

func headerValues(header *fasthttp.RequestHeader, name string) (values []string) {
	for _, v := range header.PeekAll(name) {
		values = append(values, strings.TrimSpace(string(v)))
	}
	return values
}

// tokens splits comma-separated lists.
func tokens(lists []string) (all []string) {
	for _, list := range lists {
		for token := range strings.SplitSeq(list, ",") {
			if token = strings.TrimSpace(token); token != "" {
				all = append(all, token)
			}
		}
	}
	return all
}

func hasToken(lists []string, want string) bool {
	for _, token := range tokens(lists) {
		if strings.EqualFold(token, want) {
			return true
		}
	}
	return false
}

func validKey(key string) bool {
	decoded, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(decoded) == 16
}

// response is the 101 that accepts h. No extension is ever accepted:
// compressing pixels that the VNC server has compressed costs time and memory
// for nothing.
func (h handshake) response() []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // section 1.3
	sum := sha1.Sum([]byte(h.key + guid))
	r := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if h.binary {
		r += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	return []byte(r + "\r\n")
}
