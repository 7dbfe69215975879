package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Allow is the list of networks and ports in which the edge may connect to VNC
// servers itself. Loopback and link-local addresses are on it only when a rule
// covers them, like any other. The nil Allow and an empty one allow nothing.
type Allow struct {
	rules   []allowRule
	resolve func(ctx context.Context, name string) ([]netip.Addr, error)
}

type allowRule struct {
	network     netip.Prefix
	first, last uint16
}

// ParseAllow reads rules like "10.0.0.0/8:5900-5999", "127.0.0.1/32:5901" or
// "[fd00::]/8:5900". The error tells every fault.
func ParseAllow(rules []string) (*Allow, error) {
	a := newAllow()
	var faults []error
	for _, text := range rules {
		if err := a.add(text); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return a, nil
}

func newAllow() *Allow {
	return &Allow{resolve: func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
}

func (a *Allow) add(text string) error {
	rule, err := parseAllowRule(text)
	if err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	a.rules = append(a.rules, rule)
	return nil
}

func parseAllowRule(text string) (rule allowRule, err error) {
	const form = `write it like "10.0.0.0/8:5900-5999" or "[fd00::]/8:5900"`
	slash := strings.IndexByte(text, '/')
	colon := strings.LastIndexByte(text, ':')
	if slash < 0 || colon < slash {
		return rule, errors.New("a rule is a network with its length, a colon and a port or a range of ports; " + form)
	}
	address, bits, ports := text[:slash], text[slash+1:colon], text[colon+1:]
	if inner, ok := strings.CutPrefix(address, "["); ok {
		if address, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(address, ":") {
			return rule, fmt.Errorf("%q is not an IPv6 address in brackets; %s", text[:slash], form)
		}
	}
	if rule.network, err = netip.ParsePrefix(address + "/" + bits); err != nil {
		return rule, fmt.Errorf("%q is not a network; %s", text[:colon], form)
	}
	if rule.network.Addr().Is4In6() {
		return rule, fmt.Errorf("%q is an IPv4 network in IPv6 writing; write it as IPv4, like \"10.0.0.0/8\"", text[:colon])
	}
	if masked := rule.network.Masked(); masked != rule.network {
		return rule, fmt.Errorf("%q has bits set after its first %s; the network is %q, the one address %q",
			text[:colon], bits, masked, netip.PrefixFrom(rule.network.Addr(), rule.network.Addr().BitLen()))
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	var okFirst, okLast bool
	rule.first, okFirst = parsePort(first)
	rule.last, okLast = parsePort(last)
	switch {
	case !okFirst || !okLast:
		return rule, fmt.Errorf("%q is not a port from 1 to 65535 or a range of them; %s", ports, form)
	case rule.first > rule.last:
		return rule, fmt.Errorf("the range %q ends before it begins; write it as \"%s-%s\"", ports, last, first)
	}
	return rule, nil
}

// parsePort reads a decimal number from 1 to 65535 without sign or leading zero.
func parsePort(text string) (uint16, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil && n > 0 && text[0] != '0' && text[0] != '+'
}

// Check tells whether endpoint, "host:port", is well-formed and inside the
// rules. A host name is only checked for its port; Dial checks what the name
// stands for when it is used.
func (a *Allow) Check(endpoint string) error {
	host, port, err := splitEndpoint(endpoint)
	if err != nil {
		return err
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if !a.allows(address, port) {
			return outside(endpoint, address, port)
		}
		return nil
	}
	for _, rule := range a.list() {
		if rule.covers(port) {
			return nil
		}
	}
	return &Refusal{Reason: EndpointDenied, Detail: fmt.Sprintf("Port %d of %q is in no rule of direct.allow.", port, endpoint)}
}

// Dial connects to endpoint. A name is resolved here, once, and only those of
// its addresses that are inside the rules are dialled, so that a name whose
// addresses change can't lead outside. The error is a *Refusal.
func (a *Allow) Dial(ctx context.Context, endpoint string) (net.Conn, error) {
	host, port, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	addresses, err := a.addresses(ctx, host)
	if err != nil {
		return nil, &Refusal{Reason: VNCRefused, Detail: "The name of the desktop's VNC server can't be resolved.", Cause: err}
	}
	var dialer net.Dialer
	var failure *Refusal
	for _, address := range addresses {
		address = address.Unmap()
		if !a.allows(address, port) {
			if failure == nil {
				failure = outside(endpoint, address, port)
			}
			continue
		}
		conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(address, port).String())
		if err == nil {
			return conn, nil
		}
		failure = dialRefusal(err)
	}
	if failure == nil {
		failure = &Refusal{Reason: VNCRefused, Cause: fmt.Errorf("%q has no address", host)}
	}
	return nil, failure
}

func (a *Allow) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	if a == nil {
		return nil, nil
	}
	return a.resolve(ctx, host)
}

func (a *Allow) list() []allowRule {
	if a == nil {
		return nil
	}
	return a.rules
}

func (a *Allow) allows(address netip.Addr, port uint16) bool {
	address = address.Unmap().WithZone("")
	// The unspecified address connects to the host itself, whatever it looks like.
	if address.IsUnspecified() || address.IsMulticast() {
		return false
	}
	for _, rule := range a.list() {
		if rule.covers(port) && rule.network.Contains(address) {
			return true
		}
	}
	return false
}

func (r allowRule) covers(port uint16) bool { return r.first <= port && port <= r.last }

func splitEndpoint(endpoint string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(endpoint)
	port, ok := parsePort(text)
	if err != nil || !ok || host == "" || strings.ContainsAny(host, " /@[]") {
		return "", 0, &Refusal{
			Reason: EndpointDenied,
			Detail: fmt.Sprintf("%q is not a VNC server's address; write it like \"10.1.2.3:5901\", \"vm7.example.org:5900\" or \"[fd00::1]:5900\".", endpoint),
		}
	}
	return host, port, nil
}

// outside says what an administrator would have to allow.
func outside(endpoint string, address netip.Addr, port uint16) *Refusal {
	address = address.Unmap().WithZone("")
	rule := fmt.Sprintf("%s/%d:%d", address, address.BitLen(), port)
	if address.Is6() {
		rule = fmt.Sprintf("[%s]/%d:%d", address, address.BitLen(), port)
	}
	return &Refusal{
		Reason: EndpointDenied,
		Cause:  fmt.Errorf("%q is outside direct.allow; the rule %q would allow it", endpoint, rule),
	}
}
