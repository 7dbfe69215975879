package main

import (
	"strings"
	"testing"
	"time"
)

func TestClientsTimeoutsAndPROXYHeadersAreSettings(t *testing.T) {
	config := defaultEdgeConfig()
	text := smallestEdge + "listen: {http2: false, proxy_protocol: [10.0.0.0/8, 192.0.2.7]}\ntimeouts: {header: 5s, write: 1m}\n"
	if err := parseConfig("edge.yml", []byte(text), config); err != nil {
		t.Fatal(err)
	}
	o := config.accepting()
	if config.Listen.HTTP2 || len(o.Proxies) != 2 || o.Write != time.Minute || o.Body != time.Minute || config.Timeouts.Header.std() != 5*time.Second {
		t.Errorf("%+v, %+v", config.Listen, o)
	}
	for text, says := range map[string]string{
		"timeouts: {header: 0s}":          "timeouts.header: 0s is too short",
		"timeouts: {body: 30h}":           "timeouts.body: 30h0m0s is too long",
		"timeouts: {tunnel: 1h}":          "tunnel",
		"listen: {proxy_protocol: [ten]}": "listen.proxy_protocol[0]",
		"pools: [{name: a, proxy_protocol: v3, upstreams: [{url: \"http://a\"}]}]": `"v3" is not one of: v1, v2`,
	} {
		err := parseConfig("edge.yml", []byte(smallestEdge+text+"\n"), defaultEdgeConfig())
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
