package listen

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"go.uber.org/zap"
)

// serveWebSocket serves a WebSocket over one stream of HTTP/2 (RFC 8441): inside
// it is an upgrade of HTTP/1.1, and then bytes both ways. The client's end of
// the stream is passed on and leaves the other direction open; the server's ends
// both, since net/http ends a stream with its handler.
func (h *HTTP2) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if !isTarget(r.RequestURI) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	conn, err := clientOf(r.Context()).dial(r.Context())
	if err != nil {
		h.options.Log.Debug("a WebSocket of HTTP/2 was not served", zap.Error(err))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() })
	defer stop()
	reader := bufio.NewReaderSize(conn, copyAtOnce)
	answer, err := upgrade(conn, reader, r)
	if err != nil {
		h.options.Log.Debug("a WebSocket of HTTP/2 was not served", zap.String("client", r.RemoteAddr), zap.Error(err))
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	for name, values := range answer.Header {
		switch name {
		case "Connection", "Upgrade", "Keep-Alive", "Transfer-Encoding", "Sec-Websocket-Accept":
		default:
			w.Header()[name] = values
		}
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body) // who gets less sees the stream end early
		return
	}
	w.WriteHeader(http.StatusOK) // RFC 8441 section 5
	if !pass(w, r, conn, reader) {
		panic(http.ErrAbortHandler) // RST_STREAM: the end was none that was said
	}
}

// upgrade asks for a WebSocket inside. An answer of 101 is one to this request,
// one of another 2xx is an error: over HTTP/2 it would mean that the WebSocket
// is open.
func upgrade(conn net.Conn, reader *bufio.Reader, r *http.Request) (*http.Response, error) {
	key := base64.StdEncoding.EncodeToString([]byte(rand.Text())[:16])
	request := &http.Request{Method: http.MethodGet, URL: target(r), Host: r.Host, Header: r.Header.Clone()}
	request.Header.Del(":protocol")
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Sec-WebSocket-Key", key)
	if _, has := request.Header["User-Agent"]; !has {
		request.Header.Set("User-Agent", "") // net/http would add its own
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	for {
		answer, err := http.ReadResponse(reader, request)
		switch {
		case err != nil:
			return nil, err
		case answer.StatusCode == http.StatusSwitchingProtocols:
			if !strings.EqualFold(answer.Header.Get("Upgrade"), "websocket") || answer.Header.Get("Sec-WebSocket-Accept") != accepts(key) {
				return nil, errors.New("the server went on with something other than this WebSocket")
			}
			return answer, nil
		case answer.StatusCode < 200:
		case answer.StatusCode < 300:
			return nil, errors.New("the server answered without a WebSocket: " + answer.Status)
		default:
			return answer, nil
		}
	}
}

// accepts is the Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2).
func accepts(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pass carries bytes both ways until the server has ended its direction, or
// something fails. It tells whether the server's end came as one.
func pass(w http.ResponseWriter, r *http.Request, conn net.Conn, reader *bufio.Reader) (ended bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(conn, r.Body); err != nil {
			_ = conn.Close()
		} else if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // fails when the connection is gone, which reading finds
		}
	}()
	defer func() {
		_, _ = conn.Close(), r.Body.Close() // ends the copy above
		<-done
	}()
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return false
	}
	var b [copyAtOnce]byte
	for {
		n, err := reader.Read(b[:])
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return false
			}
			if control.Flush() != nil {
				return false
			}
		}
		if err != nil {
			return err == io.EOF
		}
	}
}
