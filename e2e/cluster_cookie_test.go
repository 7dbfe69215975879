package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// keeping is a client of a cluster that keeps its cookies, as a browser does: they are for an
// address, whatever its port.
type keeping struct {
	t      *testing.T
	client http.Client
}

func newKeeping(t *testing.T) *keeping {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &keeping{t, http.Client{Jar: jar, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}}
}

// ticket asks an edge for one.
func (k *keeping) ticket(in *installation, session string) string {
	k.t.Helper()
	request, err := http.NewRequest("GET", in.URL+"/api/v1/sessions/"+session+"/vnc", nil)
	if err != nil {
		k.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+in.APIKey)
	response, err := k.client.Do(request)
	if err != nil {
		k.t.Fatal(err)
	}
	defer response.Body.Close()
	var ticket struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&ticket); err != nil || response.StatusCode != http.StatusOK {
		k.t.Fatalf("no ticket: %d, %v", response.StatusCode, err)
	}
	return ticket.Token
}

// look opens a stream at an edge, sees that it is the session's, and leaves.
func (k *keeping) look(in *installation, ticket string) {
	k.t.Helper()
	ctx := testContext(k.t)
	ws, _, err := websocket.Dial(ctx, strings.Replace(in.URL, "http", "ws", 1)+"/ws/vnc", &websocket.DialOptions{
		HTTPClient: &k.client, Subprotocols: []string{"binary", ticket},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	var viewer net.Conn = websocket.NetConn(ctx, ws, websocket.MessageBinary)
	ws.SetReadLimit(-1)
	defer viewer.Close()
	if err := verify(viewer, 7, consoleBytes); err != nil {
		k.t.Error(err)
	}
}

// cookie is the value of the node's.
func (k *keeping) cookie(in *installation) string {
	k.t.Helper()
	at, err := url.Parse(in.URL)
	if err != nil {
		k.t.Fatal(err)
	}
	cookies := k.client.Jar.Cookies(at)
	i := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == "SSNODE" })
	if i < 0 {
		return ""
	}
	return cookies[i].Value
}

// TestClusterKeepsAViewerAtTheEdgeOfItsCookie: from wherever it comes in, also
// where the agent has a tunnel, until that edge leaves.
func TestClusterKeepsAViewerAtTheEdgeOfItsCookie(t *testing.T) {
	f := startFleet(t)
	d := f.populate()
	console := d.consoles[0]
	homes := f.twoHomes(console.AgentID)
	first, second := f.edges[homes[0]], f.edges[homes[1]]
	carried := func(by, from int) bool { return f.carriedBy(by)[fmt.Sprint(console.ID, from)] }

	k := newKeeping(t)
	ticket := k.ticket(first, console.ID)
	cookie := k.cookie(first)
	if cookie == "" || strings.Contains(cookie, "edge") {
		t.Fatalf("the cookie is %q", cookie)
	}
	k.look(second, ticket)
	if !carried(homes[0], homes[1]) {
		t.Errorf("a viewer at edge %d, with a cookie of edge %d, has not been forwarded", homes[1]+1, homes[0]+1)
	}
	if k.look(first, k.ticket(second, console.ID)); k.cookie(first) != cookie {
		t.Error("another edge changes a cookie that is good")
	}
	stranger := newKeeping(t)
	if stranger.look(second, first.ticket(console.ID, "control")); carried(homes[1], homes[0]) {
		t.Error("without a cookie a viewer has left an edge that has the agent's tunnel")
	}

	f.leaves(homes[0])
	ticket = k.ticket(second, console.ID)
	if k.cookie(second) == cookie {
		t.Error("a cookie of an edge that has left stays")
	}
	k.look(second, ticket)
	f.startEdge(homes[0])
	f.settled()
	f.endAll(d)
}
