package auth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// unsafe tells whether a page of another site could do harm with r by making a
// browser send it. What a GET returns that page can't read; a WebSocket it can.
func unsafe(r *http.Request) bool {
	return (r.Method != http.MethodGet && r.Method != http.MethodHead) || r.Header.Get("Upgrade") != ""
}

// checkOrigin refuses (Forbidden) what does not come from a page of the site
// itself or of an allowed origin.
func (s Site) checkOrigin(r *http.Request) error {
	switch sent := r.Header.Values("Origin"); {
	case len(sent) == 0 && r.Header.Get("Sec-Fetch-Site") == "same-origin":
		return nil
	case len(sent) == 0:
		return store.Errorf(store.Forbidden, "a request with a log-in cookie needs an Origin header; scripts send Authorization: Bearer KEY instead")
	case len(sent) == 1 && s.trusts(sent[0], r.Host):
		return nil
	default:
		return store.Errorf(store.Forbidden, "pages of %q may not do this; vnc.allowed_origins lists those that may", strings.Join(sent, ", "))
	}
}

func (s Site) trusts(sent, host string) bool {
	o, ok := parseOrigin(sent)
	if !ok || strings.Contains(o.host, "*") {
		return false
	}
	if own, ok := parseOrigin(o.scheme + "://" + host); ok && o == own && (o.scheme == "https" || !s.Secure) {
		return true
	}
	for _, entry := range s.AllowedOrigins {
		if pattern, ok := parseOrigin(entry); ok && o.matches(pattern) {
			return true
		}
	}
	return false
}

// origin is an origin of RFC 6454 in its normal form: lower case, port given.
type origin struct{ scheme, host, port string }

func parseOrigin(text string) (origin, bool) {
	u, err := url.Parse(strings.ToLower(text))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Scheme+"://"+u.Host != strings.ToLower(text) {
		return origin{}, false
	}
	o := origin{u.Scheme, u.Hostname(), u.Port()}
	switch {
	case o.port == "" && o.scheme == "https":
		o.port = "443"
	case o.port == "":
		o.port = "80"
	}
	return o, true
}

// matches tells whether o is what pattern stands for: itself, or with a
// leading "*." every name below the rest.
func (o origin) matches(pattern origin) bool {
	if below, wild := strings.CutPrefix(pattern.host, "*"); wild {
		return o.scheme == pattern.scheme && o.port == pattern.port && len(o.host) > len(below) && strings.HasSuffix(o.host, below)
	}
	return o == pattern
}
