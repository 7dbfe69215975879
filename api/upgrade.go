package api

import (
	"bufio"
	"encoding/base64"
	"net"
	"net/http"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// checkHandshake refuses in words what websocket.Accept would refuse as plain
// text (RFC 6455 section 4.2.1).
func checkHandshake(w http.ResponseWriter, r *http.Request) error {
	if !hasToken(r.Header.Values("Connection"), "upgrade") || !hasToken(r.Header.Values("Upgrade"), "websocket") || r.Method != http.MethodGet {
		w.Header().Set("Upgrade", "websocket")
		return store.Errorf(notWebSocket, "this address speaks WebSocket only")
	}
	if version := r.Header.Get("Sec-WebSocket-Version"); version != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		return store.Errorf(store.Invalid, "Sec-WebSocket-Version %q is not spoken here; use 13", clip(version))
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) == 1 {
		if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err == nil && len(key) == 16 {
			return nil
		}
	}
	return store.Errorf(store.Invalid, "Sec-WebSocket-Key must be sent once, with 16 bytes in base64")
}

// hasToken looks for a token in a comma-separated header, in any case.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(one), token) {
				return true
			}
		}
	}
	return false
}

// upgradeWriter sends the 101 itself when the connection is taken over:
// fasthttpadaptor sends no response at all then.
type upgradeWriter struct {
	*recorder
}

func (w upgradeWriter) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.status = status
		return
	}
	w.recorder.WriteHeader(status)
}

func (w upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	answer := http.Response{StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
	if err = answer.Write(buffered); err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		_ = conn.Close()
	}
	return conn, buffered, err
}
