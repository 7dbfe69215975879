package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestRulesThatAreWrongAreAllTold(t *testing.T) {
	wrong := []string{
		"", "10.0.0.0/8", "10.0.0.0:5900", "10.0.0.0/8:", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:5900-", "10.0.0.0/8:-5900",
		"10.0.0.0/8:5999-5900", "10.0.0.5/8:5900", "10.0.0.0/33:5900", "[10.0.0.0]/8:5900", "[::1/128:5900", "[]/128:5900",
		"::ffff:10.0.0.0/104:5900", "host.example.org/8:5900", "10.0.0.0/8:vnc", "10.0.0.0/8:+5900", "10.0.0.0/8:05900", "10.0.0.0/8 :5900",
	}
	_, err := ParseAllow(append([]string{"10.0.0.0/8:5900"}, wrong...))
	if err == nil {
		t.Fatal("taken")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(wrong) {
		t.Fatalf("%d faults, not %d:\n%v", len(lines), len(wrong), err)
	}
	for i, text := range wrong {
		if !strings.HasPrefix(lines[i], "\""+text+"\": ") || !strings.Contains(lines[i], "write it") && !strings.Contains(lines[i], "the network is") {
			t.Errorf("%q: %s", text, lines[i])
		}
	}
	if !strings.Contains(err.Error(), `the network is "10.0.0.0/8", the one address "10.0.0.5/32"`) {
		t.Errorf("%v", err)
	}
}

func TestEndpoints(t *testing.T) {
	allow, err := ParseAllow([]string{"10.0.0.0/8:5900-5999", "127.0.0.1/32:5901", "[::1]/128:5900-5910", "fd00::/8:5900", "192.0.2.7/32:1-65535"})
	if err != nil {
		t.Fatal(err)
	}
	for endpoint, allowed := range map[string]bool{
		"10.1.2.3:5900": true, "10.255.255.255:5999": true, "10.1.2.3:6000": false, "10.1.2.3:5899": false, "11.0.0.1:5900": false,
		"127.0.0.1:5901": true, "127.0.0.1:5900": false, "127.0.0.2:5901": false, "192.0.2.7:1": true, "192.0.2.7:65535": true,
		"[::1]:5905": true, "[::1]:5911": false, "[fd12::1]:5900": true, "[fe80::1]:5900": false, "[fe80::1%eth0]:5900": false,
		"[::ffff:10.1.2.3]:5900": true, "[::ffff:127.0.0.1]:5900": false, "0.0.0.0:5900": false, "[::]:5900": false,
		"vm7.example.org:5900": true, "vm7.example.org:80": true, // 192.0.2.7 allows every port; the address is checked when dialled
		"":         false,
		"10.1.2.3": false, ":5900": false, "10.1.2.3:": false, "10.1.2.3:0": false, "10.1.2.3:65536": false, "10.1.2.3:vnc": false,
		"10.1.2.3:+5900": false, "10.1.2.3:05900": false, "http://10.1.2.3:5900": false, "a b:5900": false, "user@10.1.2.3:5900": false, "::1:5900": false,
	} {
		err := allow.Check(endpoint)
		if (err == nil) != allowed {
			t.Errorf("%q: %v", endpoint, err)
		}
		var refusal *Refusal
		if err != nil && (!errors.As(err, &refusal) || refusal.Reason != EndpointDenied || !strings.Contains(err.Error(), endpoint)) {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	var none *Allow
	empty, _ := ParseAllow(nil)
	for _, a := range []*Allow{none, empty} {
		for _, endpoint := range []string{"127.0.0.1:5900", "localhost:5900"} {
			if a.Check(endpoint) == nil {
				t.Errorf("%q is allowed by no rule", endpoint)
			}
			if _, err := a.Dial(deadline(t), endpoint); err == nil {
				t.Errorf("%q is dialled by no rule", endpoint)
			}
		}
	}
	if err := allow.Check("11.0.0.1:5900"); !strings.Contains(err.Error(), `"11.0.0.1/32:5900"`) {
		t.Errorf("%v does not say what would allow it", err)
	}
}

func TestNamesAreDialledOnlyInsideTheRules(t *testing.T) {
	server := startRaw(t, func(c net.Conn) { _, _ = io.WriteString(c, greeting) })
	_, port, _ := net.SplitHostPort(server.addr)
	allow, err := ParseAllow([]string{"127.0.0.1/32:" + port})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		answers []string
		fails   error
		want    Reason // empty: connected
	}{
		"inside":                       {answers: []string{"127.0.0.1"}},
		"mapped into IPv6":             {answers: []string{"::ffff:127.0.0.1"}},
		"outside and inside":           {answers: []string{"169.254.169.254", "127.0.0.1"}},
		"outside":                      {answers: []string{"169.254.169.254", "::1"}, want: EndpointDenied},
		"the host by another name":     {answers: []string{"0.0.0.0"}, want: EndpointDenied},
		"no address":                   {want: VNCRefused},
		"a resolver that doesn't know": {fails: &net.DNSError{IsNotFound: true}, want: VNCRefused},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			allow.resolve = func(context.Context, string) (found []netip.Addr, _ error) {
				if asked++; asked > 1 {
					return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil // rebound since
				}
				for _, a := range test.answers {
					found = append(found, netip.MustParseAddr(a))
				}
				return found, test.fails
			}
			conn, err := allow.Dial(deadline(t), "vm7.example.org:"+port)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			} else if refusal := asRefusal(err); err == nil || refusal.Reason != test.want {
				t.Errorf("%v, not %s", err, test.want)
			}
			if asked != 1 {
				t.Errorf("resolved %d times", asked)
			}
		})
	}
}

func TestDirectDialTellsWhatFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	allow, err := ParseAllow([]string{"127.0.0.1/32:1-65535"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := allow.Dial(deadline(t), closed); asRefusal(err).Reason != VNCRefused {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	if _, err := allow.Dial(ctx, closed); asRefusal(err).Reason != VNCSilent {
		t.Errorf("%v", err)
	}
}

func FuzzAllow(f *testing.F) {
	f.Add("10.0.0.0/8:5900-5999", "10.1.2.3:5900")
	f.Add("[::1]/128:5900", "[::1]:5900")
	f.Add("::/0:1-65535", "[fe80::1%eth0]:65535")
	f.Fuzz(func(t *testing.T, rule, endpoint string) {
		allow, err := ParseAllow([]string{rule})
		if err != nil {
			return
		}
		if allow.Check(endpoint) != nil {
			return
		}
		host, port, err := splitEndpoint(endpoint)
		if err != nil || port < allow.rules[0].first || port > allow.rules[0].last {
			t.Fatalf("%q allows %q", rule, endpoint)
		}
		if address, err := netip.ParseAddr(host); err == nil && !allow.rules[0].network.Contains(address.Unmap().WithZone("")) {
			t.Fatalf("%q allows %q", rule, endpoint)
		}
	})
}
