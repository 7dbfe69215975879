package proxy

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// CheckOrigin tells what is wrong with an entry of Options.AllowedOrigins: it
// must be "scheme://host[:port]", where the host may begin with "*." to mean
// every name below the rest, at any depth.
func CheckOrigin(pattern string) error {
	_, err := parseOrigin(pattern)
	return err
}

// origin is an origin of RFC 6454 in its normal form: lower case, port given.
type origin struct{ scheme, host, port string }

func parseOrigin(text string) (origin, error) {
	u, err := url.Parse(strings.ToLower(text))
	if err != nil || u.Hostname() == "" || !validPort(u.Port()) || (u.Scheme != "http" && u.Scheme != "https") ||
		u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") ||
		strings.Contains(strings.TrimPrefix(u.Hostname(), "*."), "*") {
		return origin{}, fmt.Errorf("%q is not an origin; write it like \"https://desk.example.org\" or \"https://*.example.org\"", text)
	}
	return origin{u.Scheme, u.Hostname(), portOf(u.Port(), u.Scheme)}, nil
}

// validPort takes none, too: that of the scheme.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func portOf(port, scheme string) string {
	switch {
	case port != "":
		return port
	case scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// matches tells whether o is what pattern stands for.
func (o origin) matches(pattern origin) bool {
	if o.scheme != pattern.scheme || o.port != pattern.port {
		return false
	}
	if below, wild := strings.CutPrefix(pattern.host, "*"); wild {
		return len(o.host) > len(below) && strings.HasSuffix(o.host, below)
	}
	return o.host == pattern.host
}

// refuseOrigin guards against pages of other sites that connect with the rights
// of whoever looks at them (RFC 6455 section 10.2). A request without an Origin
// does not come from a page. host is the request's Host header: the edge's own
// pages carry it in their origin, whichever name the edge was reached by.
func refuseOrigin(sent []string, host string, allowed []string) *Refusal {
	if len(sent) == 0 {
		return nil
	}
	denied := &Refusal{
		Reason: OriginDenied,
		Detail: fmt.Sprintf("Pages of %q may not open desktops here; vnc.allowed_origins lists those that may.", strings.Join(sent, ", ")),
	}
	o, err := parseOrigin(sent[0])
	if len(sent) > 1 || err != nil || strings.HasPrefix(o.host, "*") {
		return denied
	}
	if name, port, err := net.SplitHostPort(host); err == nil {
		if o.host == strings.ToLower(strings.Trim(name, "[]")) && o.port == port {
			return nil
		}
	} else if o.host == strings.ToLower(strings.Trim(host, "[]")) && o.port == portOf("", o.scheme) {
		return nil
	}
	for _, entry := range allowed {
		if pattern, err := parseOrigin(entry); err == nil && o.matches(pattern) {
			return nil
		}
	}
	return denied
}
