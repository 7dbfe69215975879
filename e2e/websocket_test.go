package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// startWebsockify puts a websockify before a VNC server and returns its address.
func startWebsockify(t *testing.T, target string, arguments ...string) (address string) {
	t.Helper()
	address = freePort(t)
	server := exec.Command("websockify", append(arguments, address, target)...)
	var log lockedBuffer
	server.Stdout, server.Stderr = &log, &log
	server.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
		if t.Failed() {
			t.Logf("%s", log.String())
		}
	})
	eventually(t, "websockify listens", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return address
}

// certificate is a self-signed one of 127.0.0.1 in one file with its key.
func certificate(t *testing.T) (both, certFile string) {
	t.Helper()
	folder := t.TempDir()
	certFile, keyFile := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	text := ""
	for _, file := range []string{keyFile, certFile} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text += string(part)
	}
	return writeText(t, filepath.Join(folder, "both.pem"), text), certFile
}

// webSocketWays are an edge and an agent that reach the address each by itself.
func webSocketWays(t *testing.T, address, extra, directExtra string) map[string]func() (*edgeAndAgent, string) {
	start := func() *edgeAndAgent {
		return startEdgeAndAgent(t,
			fmt.Sprintf("  - {name: consoles, type: static, endpoints: [{name: one, address: %q%s}]}", address, extra),
			fmt.Sprintf("direct: {allow: [\"127.0.0.0/8:1-65535\"]%s}", directExtra))
	}
	return map[string]func() (*edgeAndAgent, string){
		"agent": func() (*edgeAndAgent, string) { in := start(); return in, in.running(nil).ID },
		"direct": func() (*edgeAndAgent, string) {
			in := start()
			return in, in.running(map[string]any{"endpoint": address}).ID
		},
	}
}

// TestStreamsThroughWebsockify are random ones, compared by their hashes, with
// TLS and basic authentication before the second.
func TestStreamsThroughWebsockify(t *testing.T) {
	const size, password = 16 << 20, "w3bsecret"
	server, stalledSeed := startRandomServer(t, size), uint64(100) // one for each stalled viewer
	passwordFile := writeText(t, filepath.Join(t.TempDir(), "password"), password+"\n")
	both, certFile := certificate(t)
	for scheme, c := range map[string]struct {
		arguments          []string
		extra, directExtra string
	}{
		"ws": {arguments: []string{"--heartbeat", "1"}}, // it pings
		"wss": {
			[]string{"--cert", both, "--ssl-only", "--auth-plugin", "BasicHTTPAuth", "--auth-source", "kasm:" + password},
			fmt.Sprintf(", user: kasm, password_file: %q, ca_file: %q", passwordFile, certFile),
			fmt.Sprintf(", ca_file: %q, passwords: [{endpoint: \"127.0.0.1/32:1-65535\", user: kasm, file: %q}]", certFile, passwordFile),
		},
	} {
		address := scheme + "://" + startWebsockify(t, server.Addr().String(), c.arguments...) + "/websockify"
		for way, start := range webSocketWays(t, address, c.extra, c.directExtra) {
			t.Run(scheme+" "+way, func(t *testing.T) {
				in, id := start()
				ctx := testContext(t)
				var viewers sync.WaitGroup
				failures := make(chan error, 4)
				for seed := uint64(1); seed <= 4; seed++ {
					conn := in.mustView(ctx, id)
					viewers.Go(func() {
						if err := verify(conn, seed, size); err != nil {
							failures <- err
						}
						_ = conn.Close()
					})
				}
				viewers.Wait()
				close(failures)
				for err := range failures {
					t.Error(err)
				}
				// A stalled viewer is told of an end all the same. Its stream has one:
				// websockify may keep in memory all that its client does not take.
				stalledSeed++
				stalled := in.mustView(ctx, id)
				if err := sayHello(stalled, stalledSeed); err != nil {
					t.Fatal(err)
				}
				server.settled(t, stalledSeed)
				in.call("DELETE", "/api/v1/sessions/"+id, nil, 202, nil)
				_, err := io.Copy(io.Discard, stalled)
				if code, reason := closeOf(err); code != 4410 {
					t.Errorf("the viewer is told %d %q", code, reason)
				}
				eventually(t, "the VNC server has no connection left", func() error {
					if n := server.connections(); n > 0 {
						return fmt.Errorf("%d are open", n)
					}
					return nil
				})
				if said := in.process.output.String() + in.agent.output.String(); strings.Contains(said, password) {
					t.Error("the password was logged")
				}
			})
		}
	}
}

// TestTigerVNCThroughWebsockify keeps who only looks to looking.
func TestTigerVNCThroughWebsockify(t *testing.T) {
	address := "ws://" + startWebsockify(t, startXvnc(t, "-SecurityTypes", "None")) + "/websockify"
	width := 320
	for way, start := range webSocketWays(t, address, "", "") {
		t.Run(way, func(t *testing.T) {
			in, id := start()
			ctx := testContext(t)
			for _, mode := range []string{"control", "view", "control"} {
				width = in.tryToWiden(ctx, id, mode, width)
			}
		})
	}
}

// TestWebsockifyWithoutItsVNCServer: the reason is the VNC server's, whoever is
// in between.
func TestWebsockifyWithoutItsVNCServer(t *testing.T) {
	nothing := freePort(t)
	address := "ws://" + startWebsockify(t, nothing) + "/websockify"
	for way, start := range webSocketWays(t, address, "", "") {
		t.Run(way, func(t *testing.T) {
			in, id := start()
			conn, err := in.view(testContext(t), in.ticket(id, "control"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(conn)
			if code, reason := closeOf(err); !strings.HasPrefix(reason, "vnc_refused: ") || code == websocket.StatusNormalClosure {
				t.Errorf("the viewer is told %d %q", code, reason)
			}
		})
	}
}

// TestTicketIsNotForwardedToAWebSocketServer: edge and agent ask the desktop's
// own web server for nothing but the WebSocket, and send it nothing but RFB.
func TestTicketIsNotForwardedToAWebSocketServer(t *testing.T) {
	type visit struct{ request, received string }
	visits := make(chan visit, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
		if err != nil {
			t.Errorf("%v of %q", err, request)
			return
		}
		conn := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
		defer conn.Close()
		_, _ = io.WriteString(conn, greeting)
		received, _ := io.ReadAll(conn)
		visits <- visit{string(request), string(received)}
	}))
	defer server.Close()
	address := strings.Replace(server.URL, "http", "ws", 1) + "/websockify"
	for way, start := range webSocketWays(t, address, "", "") {
		t.Run(way, func(t *testing.T) {
			in, id := start()
			ticket := in.ticket(id, "control")
			conn, err := in.view(testContext(t), ticket)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, len(greeting))); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, greeting); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			for {
				select {
				case v := <-visits:
					for _, secret := range []string{ticket, in.APIKey, "Cookie", "Authorization", "token"} {
						if strings.Contains(v.request+v.received, secret) {
							t.Errorf("the web server was sent %q: %s", secret, v.request)
						}
					}
					if v.received == "" { // the edge has asked whether it can be reached
						continue
					}
					if v.received != greeting {
						t.Errorf("the VNC server received %q", v.received)
					}
				case <-time.After(patience):
					t.Error("the VNC server was sent no greeting")
				}
				return
			}
		})
	}
}
