package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestDesktopsBehindWebsockifyInAPool: two VNC servers, each behind a websockify;
// whoever comes back with the cookie finds the same screen.
func TestDesktopsBehindWebsockifyInAPool(t *testing.T) {
	widths := []int{320, 400}
	upstreams := ""
	for _, width := range widths {
		vnc := startXvnc(t, "-SecurityTypes", "None", "-geometry", fmt.Sprintf("%dx200", width))
		upstreams += fmt.Sprintf("      - {url: \"http://%s\"}\n", startWebsockify(t, vnc))
	}
	in := startEdge(t, fmt.Sprintf(`pools:
  - name: desktops
    policy: round_robin
    affinity: {cookie: SSDESKTOP, path: /desktops}
    health: {tcp: true, interval: 1s}
    upstreams:
%sroutes: [{path: /desktops, pool: desktops}]
`, upstreams))

	eventually(t, "both desktops are up", func() error { // until then new visitors go to the one that is
		var pools struct {
			Pools []struct {
				Upstreams []struct{ State, Reason string }
			}
		}
		in.call("GET", "/api/v1/pools", nil, http.StatusOK, &pools)
		for _, u := range pools.Pools[0].Upstreams {
			if u.State != "up" {
				return fmt.Errorf("one is %s: %s", u.State, u.Reason)
			}
		}
		return nil
	})

	look := func(cookie string) (width int, newCookie string) {
		t.Helper()
		conn, response, err := websocket.Dial(testContext(t), "wss://"+strings.TrimPrefix(in.URL, "https://")+"/desktops/websockify", &websocket.DialOptions{
			HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
			Subprotocols: []string{"binary"}, HTTPHeader: http.Header{"Cookie": {cookie}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		width, height, err := rfbHello(websocket.NetConn(testContext(t), conn, websocket.MessageBinary))
		if err != nil || height != 200 {
			t.Fatalf("a screen of %dx%d, %v", width, height, err)
		}
		for _, c := range response.Cookies() {
			if c.Name != "SSDESKTOP" || c.Path != "/desktops" || !c.Secure || !c.HttpOnly {
				t.Errorf("the cookie %v", c)
			}
			newCookie = c.Name + "=" + c.Value
		}
		return width, newCookie
	}
	seen := map[int]string{}
	for range widths {
		width, cookie := look("")
		seen[width] = cookie
	}
	for _, width := range widths {
		cookie := seen[width]
		if cookie == "" {
			t.Fatalf("two visitors saw %v", seen)
		}
		for range 3 {
			if again, fresh := look(cookie); again != width || fresh != "" {
				t.Errorf("a visitor of the screen of %d came to that of %d, cookie %q", width, again, fresh)
			}
		}
	}
	eventually(t, "each desktop had its four visits", func() error {
		var visits []string
		for line := range strings.SplitSeq(in.metrics(), "\n") {
			served := strings.HasPrefix(line, "streamspace_http_requests_total{") && !strings.Contains(line, `upstream=""`)
			if served && strings.Contains(line, `status="1xx"`) {
				visits = append(visits, line[strings.LastIndexByte(line, ' ')+1:])
			}
		}
		if strings.Join(visits, " ") != "4 4" {
			return fmt.Errorf("they had %v", visits)
		}
		return nil
	})
}
