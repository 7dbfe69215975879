package tunnel

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// TestWhyTheEdgeIsNotReachedIsSaidInWords: each error names the edge and what
// to change, and none of the layers that it came through.
func TestWhyTheEdgeIsNotReachedIsSaidInWords(t *testing.T) {
	secure, plain := newTLSEdge(t), newEdge(t)
	host := func(url string) string { _, host, _ := strings.Cut(url, "://"); return host }
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := closed.Addr().String()
	closed.Close()
	_, otherRoots := selfSigned(t)
	named := secure.tls.Clone()
	named.ServerName = "edge.example.org"
	for name, c := range map[string]struct {
		edge string
		tls  *tls.Config
		says string
	}{
		"nobody listens":         {"https://" + dead, nil, "the edge at " + dead + " can't be reached: connection refused"},
		"a token without a pin":  {secure.url, nil, "copy the whole line of the edge's join.token, with its @sha256:..., into token_file, or set tls.ca_file"},
		"another's certificate":  {secure.url, &tls.Config{RootCAs: otherRoots}, "no authority in tls.ca_file has signed"},
		"another name":           {secure.url, named, "has a certificate for another name"},
		"https to a plain port":  {"https://" + host(plain.url), nil, "does not speak TLS there"},
		"http to a port of TLS":  {"http://" + host(secure.url), nil, "write https:// in edge if it has TLS"},
		"a name that is no host": {"https://edge.invalid", nil, "the name can't be resolved"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDialer(Home{URL: c.edge}, ClientOptions{Token: "secret-token", TLS: c.tls}, dialTCP)
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.control(deadlined(t), uuid.NewString())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want one that says %q", err, c.says)
			}
			for _, layer := range []string{"WebSocket", `Get "`, "dial tcp", "x509:", "secret-token"} {
				if strings.Contains(err.Error(), layer) {
					t.Errorf("error %q speaks of %s", err, layer)
				}
			}
		})
	}
}

// TestAPlainRefusalIsPassedOn: what a web server says in plain text tells more
// than its status; a page of HTML does not.
func TestAPlainRefusalIsPassedOn(t *testing.T) {
	for contentType, want := range map[string]bool{"text/plain; charset=utf-8": true, "text/html": false} {
		err := refusedBy(&http.Response{
			Status: "400 Bad Request", StatusCode: 400, Header: http.Header{"Content-Type": {contentType}},
			Body: io.NopCloser(strings.NewReader("this port speaks HTTPS\nreally\n")),
		})
		if strings.Contains(err.Error(), `("this port speaks HTTPS")`) != want {
			t.Errorf("%s: %v", contentType, err)
		}
	}
}

// TestDownSpeaksToPeople: the reason is shown to the owners of desktops.
func TestDownSpeaksToPeople(t *testing.T) {
	e := newEdge(t)
	raw := welcomedRawAgent(t, e, uuid.NewString())
	e.next("up")
	if err := raw.ws.CloseNow(); err != nil { // without a word
		t.Fatal(err)
	}
	if down := e.next("down"); down.down.Reason != "the connection to it was lost" {
		t.Errorf("a lost connection: %q", down.down.Reason)
	}
	a, _ := connected(t, e, nil)
	if err := a.Leave(deadlined(t), Bye{Reason: "it was stopped"}); err != nil {
		t.Fatal(err)
	}
	if down := e.next("down"); down.down.Reason != "it was stopped" {
		t.Errorf("a bye: %q", down.down.Reason)
	}
}
