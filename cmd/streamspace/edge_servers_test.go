package main

import (
	"bufio"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestPlainHTTPPointsToTheSamePage(t *testing.T) {
	for _, c := range []struct{ target, host, port, want string }{
		{"/desktop/1?a=b%20c&d", "desk.example.org", "443", "https://desk.example.org/desktop/1?a=b%20c&d"},
		{"/", "desk.example.org:80", "443", "https://desk.example.org/"},
		{"/", "desk.example.org:8080", "8443", "https://desk.example.org:8443/"},
		{"/a%2Fb//c", "desk.example.org", "8443", "https://desk.example.org:8443/a%2Fb//c"},
		{"/", "[::1]", "8443", "https://[::1]:8443/"},
		{"/", "[::1]:80", "8443", "https://[::1]:8443/"},
		{"/", "[::1]", "443", "https://[::1]/"},
		{"http://desk.example.org/a?b", "other.example.org", "8443", "https://desk.example.org:8443/a?b"},
		{"http://desk.example.org:80", "desk.example.org", "443", "https://desk.example.org/"},
	} {
		var request fasthttp.Request
		raw := "GET " + c.target + " HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n"
		if err := request.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
			t.Fatal(err)
		}
		if got := httpsLocation(request.URI(), c.port); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.target, c.host, got, c.want)
		}
	}
}
