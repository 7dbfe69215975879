package e2e

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestWhatIsTypedBeforeTheLoginPageShowsIsKept: nobody waits with the key until
// the server has said that it is needed.
func TestWhatIsTypedBeforeTheLoginPageShowsIsKept(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	edge, err := url.Parse(in.URL)
	if err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(edge)
			r.Out.Host = r.In.Host // pages' origin
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/me" {
			for _, meet := range []chan struct{}{asked, answer} {
				select {
				case meet <- struct{}{}:
				case <-r.Context().Done():
					return
				}
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	in.URL = front.URL
	p := page{t, browser(t)}
	p.open(in, "/")
	<-asked
	p.do("typing", chromedp.KeyEvent(in.APIKey))
	if seen := p.eval(`getComputedStyle(document.querySelector('main')).opacity`); seen != "0" {
		t.Errorf("the log-in has the opacity %s before it is known to be needed", seen)
	}
	<-answer
	p.do("the log-in is seen", chromedp.WaitVisible(chromedp.CSS(`main:not(.ahead) [data-testid="login-key"]`)))
	p.do("entering", chromedp.KeyEvent(kb.Enter))
	<-asked
	<-answer
	p.sees("new-desktop")
}
