package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/cluster"
)

// jar is what a browser has of a Set-Cookie header.
func jar(setCookie string) [][]byte {
	value, _, _ := strings.Cut(setCookie, ";")
	return [][]byte{[]byte("other=1; " + value)}
}

func TestTheNodeCookieNamesTheBestHome(t *testing.T) {
	now := time.Unix(1795700000, 0)
	nodes := []cluster.Node{{ID: "a", Self: true}, {ID: "b"}, {ID: "c"}}
	homes := nodes
	secret := []byte("a secret that all edges share")
	all := func() []cluster.Node { return nodes }
	of := func(string) []cluster.Node {
		return slices.SortedFunc(slices.Values(homes), func(a, b cluster.Node) int { return a.Streams - b.Streams })
	}
	c, other := newNodeCookie(secret, all, of), newNodeCookie(secret, all, of)
	foreign := newNodeCookie([]byte("the secret of another cluster"), all, of)

	first := c.renew(nil, "agent", true, now)
	if !strings.HasPrefix(first, "SSNODE=") || !strings.HasSuffix(first, "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure") {
		t.Fatalf("%q", first)
	}
	if id, _ := other.node(jar(first), now); id != "a" {
		t.Errorf("another edge reads %q", id)
	}
	for what, bad := range map[string]string{
		"none": "", "forged": "SSNODE=" + strings.Repeat("A", 44), "another cluster's": foreign.renew(nil, "agent", false, now),
		"cut": first[:20], "long": "SSNODE=" + strings.Repeat("x", 4000), "another name's": strings.Replace(first, "SSNODE", "SSOTHER", 1),
	} {
		if id, _ := c.node(jar(bad), now); id != "" {
			t.Errorf("%s names %q", what, id)
		}
		if c.renew(jar(bad), "agent", false, now) == "" {
			t.Errorf("%s: no new cookie", what)
		}
	}

	nodes[0].Streams, nodes[1].Streams, nodes[2].Streams = 99, 1, 1
	if again := c.renew(jar(first), "agent", true, now); again != "" {
		t.Errorf("a good cookie is changed: %q", again)
	}
	named := func(set string) string {
		id, _ := c.node(jar(set), now)
		return id
	}
	if id := named(c.renew(nil, "agent", true, now)); id != "b" {
		t.Errorf("a new client is sent to %q, not to the less loaded", id)
	}
	now = now.Add(31 * time.Minute)
	if id := named(c.renew(jar(first), "agent", true, now)); id != "a" {
		t.Errorf("a renewed cookie names %q", id)
	}
	for what, change := range map[string]func(){
		"leaves":          func() { nodes[0].Draining = true },
		"is full":         func() { nodes[0].MaxStreams = 99 },
		"is no home":      func() { homes = nodes[1:] },
		"is not there":    func() { nodes = nodes[1:]; homes = nodes },
		"and none is one": func() { homes = nil },
	} {
		t.Run(what, func(t *testing.T) {
			before := append([]cluster.Node(nil), nodes...)
			defer func() { nodes, homes = before, before }()
			change()
			want := "b"
			if homes == nil {
				want = ""
			}
			if id := named(c.renew(jar(first), "agent", true, now)); id != want {
				t.Errorf("a client of it is sent to %q", id)
			}
		})
	}
	now = now.Add(time.Hour)
	if id := named(first); id != "" {
		t.Errorf("a stale cookie names %q", id)
	}
}

func TestThisEdgeIsBestUntilItCarriesMore(t *testing.T) {
	for _, c := range []struct {
		here, there int
		want        string
	}{{0, 0, "here"}, {8, 0, "here"}, {100, 60, "here"}, {121, 60, "there"}, {0, 9, "here"}, {99, 1, "there"}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			got := best([]cluster.Node{{ID: "there", Streams: c.there}, {ID: "here", Self: true, Streams: c.here}})
			if got.ID != c.want {
				t.Errorf("%q", got.ID)
			}
		})
	}
}
