package accesslog

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func full() *Entry {
	return &Entry{
		At: time.Date(2030, 1, 2, 3, 4, 5, 67_000_000, time.FixedZone("", 3600)), RequestID: "r-1", Client: netip.MustParseAddr("2001:db8::1"),
		Method: []byte("GET"), Host: []byte("desk.example.org"), Path: []byte("/app/x"), Query: true, UserAgent: []byte(`a "b" \c`),
		Protocol: "HTTP/1.1", Upgrade: "websocket", TLS: "1.3", Status: 101, BytesIn: 12, BytesOut: 1 << 40,
		Duration: 61*time.Second + 1234*time.Microsecond, Queued: 5 * time.Microsecond, Upstream: time.Second,
		Route: "app", Pool: "web", Server: "10.0.0.1:80", Attempts: 2, Ended: Done,
	}
}

func TestEntryIsOneLineOfJSON(t *testing.T) {
	got := string(full().append(nil))
	want := `{"time":"2030-01-02T02:04:05.067Z","request_id":"r-1","client":"2001:db8::1","method":"GET","host":"desk.example.org","path":"/app/x",` +
		`"query":true,"protocol":"HTTP/1.1","upgrade":"websocket","tls":"1.3","status":101,"bytes_in":12,"bytes_out":1099511627776,"duration":61.001234,` +
		`"route":"app","pool":"web","upstream":"10.0.0.1:80","attempts":2,"upstream_time":1.000000,"queue_time":0.000005,"user_agent":"a \"b\" \\c","ended":"done"}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Error("it is not JSON")
	}
}

func TestEntryBoundsAndEscapesWhatClientsSay(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a\r\nb\x00\x1b[31m\x7f", "a\r\nb\x00\x1b[31m\x7f"}, // as JSON tells it
		{"bad\xff\xc3", "bad\ufffd\ufffd"},
		{"\u202etxt\u2028\u0085\ufeff", "\ufffdtxt\ufffd\ufffd\ufffd"},
		{"/api/v1/ssk_abc/x", "/api/v1/[redacted]/x"},
		{"/ws/eyJhbGciOi.eyJzdWIi.x", "/ws/[redacted]"},
		{"/%73sk_abc/x", "/[redacted]/x"},
		{"/a/%65%79%4a%68.x/%2e", "/a/[redacted]/%2e"},
		{"/%2573sk_abc/%25253%37%33%33sk%5F", "/[redacted]/%25253%37%33%33sk%5F"},
		{"/%%37%33sk_abc", "/[redacted]"},
		{"/a%2F%73sk%5fabc/b", "/[redacted]/b"},
		{"/100%/%7/%zz/ss%k_", "/100%/%7/%zz/ss%k_"},
		{"größe €😀", "größe €😀"},
		{strings.Repeat("x", 5000), strings.Repeat("x", mostPath) + "…"},
		{strings.Repeat("€", 5000), strings.Repeat("€", (mostPath+2)/3) + "…"},
	} {
		line := (&Entry{Path: []byte(c.in)}).append(nil)
		var told struct{ Path string }
		if err := json.Unmarshal(line, &told); err != nil || told.Path != c.want {
			t.Errorf("%.40q became %.60q, %v", c.in, told.Path, err)
		}
		for _, b := range line[:len(line)-1] {
			if b < ' ' || b == 0x7f {
				t.Errorf("%.40q left the byte %#x in the line", c.in, b)
			}
		}
	}
}

// FuzzRedactedHidesCredentials: however often they are encoded; what is shown of a
// path without any is what it was.
func FuzzRedactedHidesCredentials(f *testing.F) {
	for _, path := range []string{"/api/ssk_x", "/%73sk_x", "/%2573sk_x/b", "/%%373sk_x", "/%65yJ/%zz%", "/a%2fe%79J", "/", "/plain%20page"} {
		f.Add(path)
	}
	secret := regexp.MustCompile("ssk_|eyJ")
	code := regexp.MustCompile("%[0-9a-fA-F]{2}")
	f.Fuzz(func(t *testing.T, path string) {
		if len(path) > 2000 {
			return
		}
		// One encoding after the other, over the whole text, until there is none.
		plain := func(text string) string {
			for code.MatchString(text) {
				text = code.ReplaceAllStringFunc(text, func(c string) string {
					b, _ := hex.DecodeString(c[1:])
					return string(b)
				})
			}
			return text
		}
		shown := string(redacted([]byte(path)))
		switch had := secret.MatchString(plain(path)); {
		case secret.MatchString(plain(shown)):
			t.Errorf("%q shows %q", path, shown)
		case !had && shown != path:
			t.Errorf("%q became %q without need", path, shown)
		case strings.Count(shown, "/") != strings.Count(path, "/"):
			t.Errorf("%q became %q, of other segments", path, shown)
		}
	})
}

func FuzzEntryIsOneLine(f *testing.F) {
	f.Add([]byte("/a?b"), "x", []byte("agent"))
	f.Add([]byte("\xf0\x9f\x98"), "\"\\\n", []byte("\u202e\u2029\xff"))
	f.Fuzz(func(t *testing.T, path []byte, id string, agent []byte) {
		line := (&Entry{RequestID: id, Path: path, Host: path, UserAgent: agent, Client: netip.Addr{}}).append(nil)
		if !json.Valid(line) || !utf8.Valid(line) || strings.Count(string(line), "\n") != 1 || len(line) > 12_000 {
			t.Errorf("%q", line)
		}
	})
}
