package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Bearer x", "bearer  x ", "Basic eDp5", "Bearer", "Bearer ", "Bearer a b", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		secret, sent, err := bearer([]string{value})
		if sent == (err != nil) || (sent && (secret == "" || !strings.Contains(value, secret) || !strings.EqualFold(value[:7], "Bearer "))) {
			t.Fatalf("%q gave %q, %v, %v", value, secret, sent, err)
		}
		if _, err := hashOf(secret); err == nil && !strings.HasPrefix(secret, secretPrefix) {
			t.Fatalf("%q passes for a key", secret)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://edge", "http://edge:80", "null", "https://a@edge", "https://edge/", "https://[::1]:1", "https://*.x", "https://edge#"} {
		f.Add(seed, "edge")
	}
	f.Fuzz(func(t *testing.T, sent, host string) {
		o, ok := parseOrigin(sent)
		if ok {
			name := o.host
			if strings.Contains(name, ":") {
				name = "[" + name + "]"
			}
			if again, ok := parseOrigin(o.scheme + "://" + name + ":" + o.port); !strings.Contains(name, "%") && (!ok || again != o) {
				t.Fatalf("%q is %+v, then %+v", sent, o, again)
			}
		}
		if (Site{}).trusts(sent, host) {
			own, _ := parseOrigin(o.scheme + "://" + host)
			if !ok || own != o {
				t.Fatalf("%q passes for %q", sent, host)
			}
		}
	})
}

func FuzzTicket(f *testing.F) {
	a, _ := newAuth(f)
	good, _, err := a.IssueTicket(Caller{}, &store.Session{ID: uuid.NewString()}, ModeView, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, "", "..", "eyJhbGciOiJub25lIn0.e30.", good + "A", strings.ToLower(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := a.CheckTicket(token); err == nil && token != good {
			t.Fatalf("%q is taken for a ticket", token)
		}
	})
}
