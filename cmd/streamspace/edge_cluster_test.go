package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/proxy/hop"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func TestAStreamTakesTheNearestWayThatWorks(t *testing.T) {
	offline := tunnel.Errorf(tunnel.CodeAgentOffline, "offline")
	refused := tunnel.Errorf(tunnel.CodeVNCRefused, "refused")
	full := tunnel.Errorf(tunnel.CodeNodeFull, "full")
	clocks := tunnel.Errorf(tunnel.CodeUnauthorized, "the clocks differ")
	gone := &hop.Unreachable{Peer: "b", Cause: errors.New("connection refused")}
	for name, c := range map[string]struct {
		node      string // that the cookie names
		here      bool
		local     error
		homes     []cluster.Node
		peers     map[string]error
		tried     string
		suspected string
		code      tunnel.Code

		full, passesNoMore bool // this edge
	}{
		"local":                            {here: true, homes: []cluster.Node{{ID: "b"}}, tried: "local"},
		"one hop":                          {homes: []cluster.Node{{ID: "a", Self: true}, {ID: "b"}, {ID: "c"}}, tried: "b"},
		"the agent's word counts":          {here: true, local: refused, homes: []cluster.Node{{ID: "b"}}, tried: "local", code: tunnel.CodeVNCRefused},
		"it has just gone":                 {here: true, local: offline, homes: []cluster.Node{{ID: "b"}}, tried: "local b"},
		"a dead home":                      {homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"b": gone}, tried: "b c", suspected: "b"},
		"a home that leaves":               {homes: []cluster.Node{{ID: "b", Draining: true}, {ID: "c"}}, tried: "c"},
		"a home has lost it":               {homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"b": offline}, tried: "b c"},
		"a far agent's word":               {homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"b": refused}, tried: "b", code: tunnel.CodeVNCRefused},
		"the cookie's before this one":     {node: "c", here: true, homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, tried: "c"},
		"the cookie's before the others":   {node: "c", homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, tried: "c"},
		"the cookie names this one":        {node: "a", here: true, homes: []cluster.Node{{ID: "a", Self: true}, {ID: "b"}}, tried: "local"},
		"the cookie's is full":             {node: "c", here: true, homes: []cluster.Node{{ID: "c", Streams: 9, MaxStreams: 9}}, tried: "local"},
		"the cookie's leaves":              {node: "c", here: true, homes: []cluster.Node{{ID: "c", Draining: true}}, tried: "local"},
		"the cookie's is no home":          {node: "d", here: true, homes: []cluster.Node{{ID: "c"}}, tried: "local"},
		"the cookie's is dead, then this":  {node: "c", here: true, homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"c": gone}, tried: "c local", suspected: "c"},
		"the cookie's has lost it":         {node: "c", homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"c": offline}, tried: "c b"},
		"clocks forbid it":                 {homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"b": clocks}, tried: "b c"},
		"nobody has it":                    {code: tunnel.CodeAgentOffline},
		"this one is full":                 {full: true, here: true, homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, tried: "b"},
		"all are full":                     {full: true, here: true, homes: []cluster.Node{{ID: "b"}, {ID: "c"}}, peers: map[string]error{"b": full, "c": gone}, tried: "b c", suspected: "c", code: tunnel.CodeNodeFull},
		"only this one is there, and full": {full: true, here: true, code: tunnel.CodeNodeFull},
		"it passes no more on":             {passesNoMore: true, homes: []cluster.Node{{ID: "b"}}, code: tunnel.CodeNodeFull},
		"full of others, it carries":       {passesNoMore: true, node: "b", here: true, homes: []cluster.Node{{ID: "b"}}, tried: "local"},
		"all are dead":                     {homes: []cluster.Node{{ID: "b"}}, peers: map[string]error{"b": gone}, tried: "b", suspected: "b", code: tunnel.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var tried, suspected []string
			p := streamPath{
				here: func(string) bool { return c.here },
				open: func(context.Context, string, tunnel.OpenRequest) (net.Conn, error) {
					tried = append(tried, "local")
					return nil, c.local
				},
				homes: func(string) []cluster.Node { return slices.Clone(c.homes) },
				dial: func(_ context.Context, p hop.Peer, _ string, _ tunnel.OpenRequest) (net.Conn, error) {
					tried = append(tried, p.ID)
					return nil, c.peers[p.ID]
				},
				suspect: func(id string) { suspected = append(suspected, id) },
				carry:   place(c.full), passOn: place(c.passesNoMore),
			}
			_, err := p.openStream(t.Context(), "agent", c.node, tunnel.OpenRequest{})
			var said *tunnel.Error
			if (c.code == "") != (err == nil) || c.code != "" && (!errors.As(err, &said) || said.Code != c.code) {
				t.Errorf("error %v, want code %q", err, c.code)
			}
			if got := strings.Join(tried, " "); got != c.tried {
				t.Errorf("tried %q, want %q", got, c.tried)
			}
			if got := strings.Join(suspected, " "); got != c.suspected {
				t.Errorf("suspected %q, want %q", got, c.suspected)
			}
		})
	}
}

func place(full bool) func() (func(), error) {
	return (&places{node: "a", most: map[bool]int{true: 0, false: 1}[full], changed: func() {}}).carry
}

// TestTheLeastLoadedHomeIsTriedFirst: by the share of its room. One that was full
// a moment ago may have room again.
func TestTheLeastLoadedHomeIsTriedFirst(t *testing.T) {
	picker := balancer.NewPicker(balancer.WeightedLeastConnections)
	got := hopOrder([]cluster.Node{
		{ID: "half", Streams: 50, MaxStreams: 100},
		{ID: "leaving", Streams: 0, MaxStreams: 100, Draining: true},
		{ID: "third", Streams: 60, MaxStreams: 200},
		{ID: "full", Streams: 10, MaxStreams: 10},
		{ID: "unbounded", Streams: 5000},
	}, picker)
	var ids []string
	for _, n := range got {
		ids = append(ids, n.ID)
	}
	if want := "unbounded third half full leaving"; strings.Join(ids, " ") != want {
		t.Errorf("%v, want %s", ids, want)
	}
	if got := hopOrder(nil, picker); len(got) != 0 {
		t.Errorf("%v of no homes", got)
	}
}

func TestFaultsOfPeers(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	for _, c := range []struct {
		config clusterConfig
		paths  []string
	}{
		{clusterConfig{URL: "https://10.0.0.11:443"}, nil},
		{clusterConfig{URL: "https://edge/path", CAFile: none}, []string{"cluster.url", "cluster.ca_file"}},
		{clusterConfig{URL: "https://edge", Check: peerCheckConfig{Interval: 1}}, []string{"cluster.check.interval"}},
	} {
		found := &faults{}
		c.config.check(found)
		var paths []string
		for _, f := range found.list {
			paths = append(paths, f.Path)
		}
		if !slices.Equal(paths, c.paths) {
			t.Errorf("%+v: faults %v, want %v", c.config, found.list, c.paths)
		}
	}
}

// TestAnEdgeOfAClusterSaysWhereItIs: the others and agents must reach this very
// edge, not whichever one an address of all leads to.
func TestAnEdgeOfAClusterSaysWhereItIs(t *testing.T) {
	for text, want := range map[string]string{
		`cluster: {url: "https://10.0.0.11:443/"}`:                                 "https://10.0.0.11:443",
		`listen: {https: "10.0.0.12:8443"}`:                                        "https://10.0.0.12:8443",
		`node: {advertise: "https://10.0.0.13"}`:                                   "https://10.0.0.13",
		`listen: {https: "0.0.0.0:443"}`:                                           "",
		"listen: {https: \"\", http: \"10.0.0.14:80\"}\ntls: {off: true}":          "http://10.0.0.14:80",
		"listen: {https: \"[2001:db8::1]:443\"}\ncluster: {check: {healthy: 3}}\n": "https://[2001:db8::1]:443",
	} {
		if !strings.Contains(text, "tls:") {
			text += "\ntls: {self_signed: true}"
		}
		text += "\nstore: {postgres: {primary: \"postgres://db/streamspace\"}}\nredis: {addrs: [\"redis:6379\"]}\n"
		config := defaultEdgeConfig()
		err := parseConfig("edge.yml", []byte(text), config)
		if got := config.peerURL(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if told := err != nil && strings.Contains(err.Error(), "cluster.url: is missing"); told != (want == "") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
