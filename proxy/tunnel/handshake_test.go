package tunnel

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
)

// FuzzCredentials reads whole requests of what claims to be an agent. What is
// let in names an agent and has both secrets, of a bounded size.
func FuzzCredentials(f *testing.F) {
	good := "GET " + ConnectPath + " HTTP/1.1\r\nHost: edge\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Protocol: " + ControlProtocol + "\r\n" + HeaderAgentID + ": 01a21693-9752-7321-a380-078b85a32b0c\r\n"
	f.Add([]byte(good + HeaderAgentKey + ": key\r\nAuthorization: Bearer token\r\n\r\n"))
	f.Add([]byte(good + HeaderAgentKey + ": key\r\nAuthorization: Basic token\r\n\r\n"))
	f.Add([]byte(good + "Authorization: bearer   \r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: edge\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return
		}
		c, refusal := controlCredentials(r)
		if refusal != nil {
			if status := refusal.Code.httpStatus(); status < 400 || status > 499 || c != (credentials{}) {
				t.Errorf("refused with %d and %+v", status, c)
			}
			return
		}
		if !isUUID(c.agentID) || c.token == "" || c.key == "" || len(c.token) > maxSecret || len(c.key) > maxSecret {
			t.Errorf("%q is let in with %+v", text, c)
		}
	})
}
