package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestLargeAnswersAreCompressedForWhoTakesIt(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.addKey(fmt.Sprintf("key %d", i), "default", "admin", "user")
		w.want(202, w.call(alice, "POST", "/api/v1/sessions", `{"name":"a name that makes the list long"}`))
	}
	const list = "/api/v1/sessions"
	plain := w.want(200, w.call(alice, "GET", list, ""))
	if plain.header.Get("Content-Encoding") != "" || len(plain.body) < compressFrom {
		t.Fatalf("%d bytes, %v", len(plain.body), plain.header)
	}
	for accepted, want := range map[string]string{
		"gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "gzip;q=1, zstd;q=0.5": "gzip", "gzip;q=0": "", "br": "", "": "", "identity": "",
	} {
		got := w.want(200, w.call(alice, "GET", list, "", "Accept-Encoding", accepted))
		if got.header.Get("Content-Encoding") != want || got.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accepted, got.header)
		}
		if text := decoded(t, want, got.body); !bytes.Equal(text, plain.body) {
			t.Errorf("%q: %d bytes are not the %d of the list", accepted, len(text), len(plain.body))
		}
		if want != "" && len(got.body) >= len(plain.body)/2 {
			t.Errorf("%q: %d of %d bytes", accepted, len(got.body), len(plain.body))
		}
	}
	if got := w.want(200, w.call(alice, "GET", "/api/v1/me", "", "Accept-Encoding", "gzip")); got.header.Get("Content-Encoding") != "" {
		t.Errorf("%d bytes came compressed", len(got.body))
	}
	if got := w.want(404, w.call(alice, "GET", "/api/v1/sessions/0190b5a0-0000-7000-8000-000000000000", "", "Accept-Encoding", "gzip")); !strings.Contains(string(got.body), "not_found") {
		t.Errorf("%q", got.body)
	}
}

// TestAnswersWithCredentialsAreNotCompressed: their length would tell of them.
func TestAnswersWithCredentialsAreNotCompressed(t *testing.T) {
	w := newWorld(t)
	id := w.addSession()
	for i := range 20 {
		w.addKey(fmt.Sprintf("key %d", i), "default", "admin", "user")
	}
	for _, got := range []answer{
		w.want(200, w.call(alice, "GET", "/api/v1/sessions/"+id+"/vnc", "", "Accept-Encoding", "gzip, zstd")),
		w.want(200, w.call(alice, "POST", "/api/v1/sessions/"+id+"/vnc", `{"mode":"view"}`, "Accept-Encoding", "gzip, zstd")),
		w.want(201, w.call(admin, "POST", "/api/v1/keys", `{"name":"`+strings.Repeat("x", 99)+`","role":"admin"}`, "Accept-Encoding", "gzip, zstd")),
		w.want(200, w.call(admin, "GET", "/api/v1/keys", "", "Accept-Encoding", "gzip, zstd")),
	} {
		if got.header.Get("Content-Encoding") != "" || got.header.Get("Vary") != "" {
			t.Errorf("%v", got.header)
		}
	}
	for _, r := range (&server{}).table() {
		if secret := strings.HasPrefix(r.path, "/api/v1/login") || strings.HasPrefix(r.path, "/api/v1/keys") && !strings.Contains(r.path, "{") ||
			strings.HasSuffix(r.path, "/vnc") || strings.HasSuffix(r.path, "/events"); secret != verbatim(r.path) {
			t.Errorf("%s: verbatim is %v", r.path, verbatim(r.path))
		}
	}
}

func decoded(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
