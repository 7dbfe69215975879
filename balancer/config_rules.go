package balancer

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	// upstreamID is one segment of a path of the API, as it is.
	upstreamID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,126}$`)
	// hostName is what a certificate can be for, beside addresses (RFC 1123
	// section 2.1; the underscore is there because names in use have it).
	hostName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*$`)
)

// badUpstreamURL tells what no upstream can be reached by.
func badUpstreamURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || strings.ContainsAny(text, "?#") {
		return true
	}
	if _, port, found := strings.Cut(strings.TrimPrefix(u.Host, "["+u.Hostname()+"]"), ":"); found {
		n, err := strconv.ParseUint(port, 10, 16)
		return err != nil || n == 0
	}
	return false
}

// allPlain tells whether none of them is met over TLS.
func allPlain(upstreams []UpstreamConfig) bool {
	return len(upstreams) > 0 && !slices.ContainsFunc(upstreams, func(c UpstreamConfig) bool {
		return !strings.HasPrefix(strings.ToLower(c.URL), "http:")
	})
}

func badServerName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	return len(name) > 253 || !hostName.MatchString(name)
}

// checkPath is for what is compared with the paths of requests, which are decoded
// by then and have neither dot segments nor empty ones.
func (f *configFaults) checkPath(key, path string) {
	if !strings.HasPrefix(path, "/") {
		f.add(key, "%q must begin with a slash", path)
		return
	}
	below := path + "/"
	switch {
	case strings.ContainsAny(path, "?#"):
		f.add(key, "%q has a query or a fragment, by which nothing is routed; write the path alone", path)
	case strings.Contains(path, "%"):
		f.add(key, "%q is percent-encoded, but decoded paths are compared; write the character itself, \"/a b/\" for \"/a%%20b/\"", path)
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }), strings.HasSuffix(path, " "):
		f.add(key, "%q has a control character or ends in a space", path)
	case strings.Contains(path, "//"), strings.Contains(below, "/./"), strings.Contains(below, "/../"):
		f.add(key, "%q has an empty segment, \".\" or \"..\", which are gone from paths before they are compared; write it without", path)
	}
}
