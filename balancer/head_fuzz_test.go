package balancer

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// FuzzAHeadAloneIsAsFasthttpWritesIt: a request without a body goes a shorter way
// to the upstream, with the same bytes.
func FuzzAHeadAloneIsAsFasthttpWritesIt(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /a%2fb/../c?d=e&&f#g HTTP/1.1\r\nHost: X:8443\r\nCookie: a=b; c\r\nCookie: d=e\r\n\r\n",
		"GET /?? HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Type: a/b\r\nUser-Agent: \r\nConnection: close\r\nTrailer: X\r\n\r\n",
		"GET //other/path HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://user@other/path HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET *? HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /%zz\x80 HTTP/1.1\r\nHost: x y\r\nA:b\r\na: c\r\nÀ: d\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var request fasthttp.Request
		if request.ReadLimitBody(bufio.NewReader(strings.NewReader(raw)), 1<<20) != nil || badTarget(request.Header.RequestURI()) || !isHeadOnly(&request) {
			return
		}
		request.URI().DisablePathNormalizing = true
		request.Header.SetNoDefaultContentType(true)
		if path, query, asks := bytes.Cut(request.Header.RequestURI(), []byte{'?'}); asks && len(query) == 0 {
			request.Header.SetRequestURIBytes(path) // fasthttp leaves the mark of an empty query out
		}
		var sent bytes.Buffer
		ls := &links{buffers: newBuffers()}
		if err := ls.sendWhole(&link{socket: reactor.NewRawSocket(writing{to: &sent})}, &request.Header); err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		w := bufio.NewWriter(&want)
		if err := request.Write(w); err != nil {
			return // it would not have been sent
		}
		_ = w.Flush()
		if sent.String() != want.String() {
			t.Errorf("%q\ninstead of\n%q", sent.String(), want.String())
		}
	})
}

// writing is a connection that only takes.
type writing struct {
	net.Conn
	to io.Writer
}

func (w writing) Write(p []byte) (int, error) { return w.to.Write(p) }
