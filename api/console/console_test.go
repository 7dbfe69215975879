package console_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/goleak"

	"github.com/streamspace-dev/streamspace-edge/api/console"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp starts these on its own and ends them late, or never.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

const (
	index    = "<!doctype html><title>Console</title>"
	notFound = "<!doctype html><title>Not found</title>"
	script   = "console.log('a desktop')"
	styles   = "body { margin: 0 }"
)

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

func bundle() fstest.MapFS {
	return fstest.MapFS{
		"index.html":                {Data: []byte(index)},
		"index.html.gz":             {Data: zipped(index)},
		"not-found.html":            {Data: []byte(notFound)},
		"assets/main-ABC.js":        {Data: []byte(script)},
		"assets/main-ABC.js.gz":     {Data: zipped(script)},
		"assets/styles-DEF.css":     {Data: []byte(styles)},
		"assets/icon-GHI.svg":       {Data: []byte("<svg/>")},
		"assets/licences-JKL.txt":   {Data: []byte("MPL-2.0")},
		"placeholder.txt":           {Data: []byte("not served")},
		"assets/nested/more-XY.css": {Data: []byte(styles)},
	}
}

// servers are the two kinds that the handler must work under: the edge's own
// and the standard library's.
func servers(t *testing.T, h http.Handler) map[string]*http.Client {
	t.Helper()
	standard := httptest.NewServer(h)
	t.Cleanup(standard.Close)
	to := func(dial func() (net.Conn, error)) *http.Client {
		transport := &http.Transport{
			DisableCompression: true, // tests see what was sent
			DialContext:        func(context.Context, string, string) (net.Conn, error) { return dial() },
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}

	l := fasthttputil.NewInmemoryListener()
	edge := &fasthttp.Server{Handler: fasthttpadaptor.NewFastHTTPHandler(h)}
	ended := make(chan error, 1)
	go func() { ended <- edge.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	return map[string]*http.Client{
		"net/http": to(func() (net.Conn, error) { return net.Dial("tcp", standard.Listener.Addr().String()) }),
		"fasthttp": to(l.Dial),
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, client *http.Client, method, path string, header map[string]string) answer {
	t.Helper()
	request, err := http.NewRequest(method, "http://edge.example:8443"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// onBoth runs a test under both servers.
func onBoth(t *testing.T, test func(t *testing.T, client *http.Client)) {
	h, err := console.New(bundle())
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range servers(t, h) {
		t.Run(name, func(t *testing.T) { test(t, client) })
	}
}

func TestEveryPathHasItsAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, client *http.Client) {
		for path, want := range map[string]struct {
			status            int
			body, contentType string
		}{
			"/":     {200, index, "text/html; charset=utf-8"},
			"/?x=1": {200, index, "text/html; charset=utf-8"},
			"/desktop/0192f0c1-7a3b-7c00-8000-000000000001": {200, index, "text/html; charset=utf-8"},
			"/assets/main-ABC.js":                           {200, script, "text/javascript; charset=utf-8"},
			"/assets/styles-DEF.css":                        {200, styles, "text/css; charset=utf-8"},
			"/assets/icon-GHI.svg":                          {200, "<svg/>", "image/svg+xml"},
			"/assets/licences-JKL.txt":                      {200, "MPL-2.0", "text/plain; charset=utf-8"},
			"/assets/nested/more-XY.css":                    {200, styles, "text/css; charset=utf-8"},
			"/desktop/":                                     {404, notFound, "text/html; charset=utf-8"},
			"/desktop/a/b":                                  {404, notFound, "text/html; charset=utf-8"},
			"/desktop":                                      {404, notFound, "text/html; charset=utf-8"},
			"/index.html":                                   {404, notFound, "text/html; charset=utf-8"},
			"/placeholder.txt":                              {404, notFound, "text/html; charset=utf-8"},
			"/assets/":                                      {404, notFound, "text/html; charset=utf-8"},
			"/assets/main-OLD.js":                           {404, notFound, "text/html; charset=utf-8"},
			"/assets/main-ABC.js.gz":                        {404, notFound, "text/html; charset=utf-8"},
			"/assets/..%2findex.html":                       {404, notFound, "text/html; charset=utf-8"},
			"/anything":                                     {404, notFound, "text/html; charset=utf-8"},
		} {
			got := ask(t, client, http.MethodGet, path, nil)
			if got.status != want.status || got.body != want.body || got.header.Get("Content-Type") != want.contentType {
				t.Errorf("%s: %d %q %q", path, got.status, got.header.Get("Content-Type"), got.body)
			}
			head := ask(t, client, http.MethodHead, path, nil)
			if head.status != want.status || head.body != "" || head.header.Get("ETag") != got.header.Get("ETag") {
				t.Errorf("HEAD %s: %d %q %v", path, head.status, head.body, head.header)
			}
		}
	})
}

func TestPagesAreKeptToThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, client *http.Client) {
		for _, path := range []string{"/", "/desktop/x", "/nothing"} {
			header := ask(t, client, http.MethodGet, path, nil).header
			for name, parts := range map[string][]string{
				"Content-Security-Policy": {
					"default-src 'self'", "connect-src 'self' wss://edge.example:8443", "img-src 'self' data: blob:", "style-src 'self'",
					"script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
				},
				"Cache-Control":              {"no-cache"},
				"X-Content-Type-Options":     {"nosniff"},
				"Referrer-Policy":            {"no-referrer"},
				"Permissions-Policy":         {"clipboard-read=(self)", "clipboard-write=(self)", "fullscreen=(self)", "camera=()"},
				"Cross-Origin-Opener-Policy": {"same-origin"},
			} {
				for _, part := range parts {
					if !strings.Contains(header.Get(name), part) {
						t.Errorf("%s: %s is %q, without %q", path, name, header.Get(name), part)
					}
				}
			}
			if policy := header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
				t.Errorf("%s: the policy is loose: %s", path, policy)
			}
		}
	})
}

func TestAForgedHostAddsNothingToThePolicy(t *testing.T) {
	h, err := console.New(bundle())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"edge.example":                 "connect-src 'self' wss://edge.example;",
		"[::1]:8443":                   "connect-src 'self' wss://[::1]:8443;",
		"":                             "connect-src 'self';",
		"*":                            "connect-src 'self';",
		"evil; script-src *":           "connect-src 'self';",
		"a.example wss://evil.example": "connect-src 'self';",
		"a.example/x":                  "connect-src 'self';",
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, want) {
			t.Errorf("host %q: %s", host, policy)
		}
	}
}

func TestAssetsAreCachedForGoodAndSentAgainOnlyWhenTheyChange(t *testing.T) {
	onBoth(t, func(t *testing.T, client *http.Client) {
		first := ask(t, client, http.MethodGet, "/assets/main-ABC.js", nil)
		if got := first.header.Get("Cache-Control"); !strings.Contains(got, "immutable") || !strings.Contains(got, "max-age=31536000") {
			t.Errorf("Cache-Control is %q", got)
		}
		if first.header.Get("X-Content-Type-Options") != "nosniff" || first.header.Get("ETag") == "" {
			t.Errorf("headers: %v", first.header)
		}
		for _, path := range []string{"/assets/main-ABC.js", "/"} {
			etag := ask(t, client, http.MethodGet, path, nil).header.Get("ETag")
			again := ask(t, client, http.MethodGet, path, map[string]string{"If-None-Match": etag})
			if again.status != http.StatusNotModified || again.body != "" {
				t.Errorf("%s again: %d %q", path, again.status, again.body)
			}
			if other := ask(t, client, http.MethodGet, path, map[string]string{"If-None-Match": `"other"`}); other.status != http.StatusOK {
				t.Errorf("%s with another ETag: %d", path, other.status)
			}
		}
	})
}

func TestEachClientGetsTheFormThatSuitsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, client *http.Client) {
		etags := map[string]string{}
		for accepted, want := range map[string]string{
			"":                      "",
			"gzip":                  "gzip",
			"br, gzip;q=0.8":        "gzip",
			"GZIP":                  "gzip",
			"*":                     "zstd",
			"gzip;q=0":              "",
			"gzip; q=0.000, *":      "zstd",
			"gzip;q=0, zstd;q=0, *": "",
			"identity":              "",
			"gzip;q=nonsense":       "",
			"br;q=1, *;q=0":         "",
			"deflate, x-gzip,br ":   "gzip",
			"gzip, deflate, zstd":   "zstd",
			"gzip, zstd;q=0.9":      "gzip",
			"gzip;q=0.1, zstd;q=.2": "zstd",
			"zstd":                  "zstd",
		} {
			got := ask(t, client, http.MethodGet, "/assets/main-ABC.js", map[string]string{"Accept-Encoding": accepted})
			if got.header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: Vary is %q", accepted, got.header.Get("Vary"))
			}
			text := got.body
			switch want {
			case "gzip":
				text = unzip(t, got.body)
			case "zstd":
				text = unzstd(t, got.body)
			}
			if got.header.Get("Content-Encoding") != want || text != script {
				t.Errorf("%q: encoding %q, body %q", accepted, got.header.Get("Content-Encoding"), text)
			}
			if etag := etags[want]; etag != "" && etag != got.header.Get("ETag") {
				t.Errorf("%q: the ETag of %s changes", accepted, want)
			}
			etags[want] = got.header.Get("ETag")
		}
		if etags[""] == etags["gzip"] || etags[""] == etags["zstd"] || etags["gzip"] == etags["zstd"] {
			t.Errorf("two forms have one ETag: %v", etags)
		}
		if got := ask(t, client, http.MethodGet, "/assets/styles-DEF.css", map[string]string{"Accept-Encoding": "gzip, zstd"}); got.body != styles {
			t.Errorf("a file without a gzip form came as %q", got.body)
		}
	})
}

func unzstd(t *testing.T, body string) string {
	t.Helper()
	r, err := zstd.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func unzip(t *testing.T, body string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPagesCanOnlyBeRead(t *testing.T) {
	onBoth(t, func(t *testing.T, client *http.Client) {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			if got := ask(t, client, method, "/", nil); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: %d, Allow %q", method, got.status, got.header.Get("Allow"))
			}
		}
	})
}

func TestABundleThatIsNotWholeIsRefused(t *testing.T) {
	for _, missing := range []string{"index.html", "not-found.html"} {
		files := bundle()
		delete(files, missing)
		if _, err := console.New(files); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	files := bundle()
	files["assets/movie.avi"] = &fstest.MapFile{}
	if _, err := console.New(files); err == nil || !strings.Contains(err.Error(), "movie.avi") {
		t.Errorf("with a file of an unknown kind: %v", err)
	}
}

func TestTheEmbeddedHandlerAnswersWithOrWithoutABundle(t *testing.T) {
	h := console.Handler()
	for path, status := range map[string]int{"/": http.StatusOK, "/desktop/x": http.StatusOK, "/nothing": http.StatusNotFound} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != status || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}
