package main

import (
	"strings"
	"testing"
)

// TestFaultsOfPoolsRoutesAndProxies are those that need the file or the edge to
// be found; the others are tested in balancer.
func TestFaultsOfPoolsRoutesAndProxies(t *testing.T) {
	const upstreams = `upstreams: [{url: "http://a"}]`
	for text, want := range map[string]string{
		"pools: [{name: web, affinity: {ttl: 0s}, " + upstreams + "}]":             "edge.yml:2:37: pools[0].affinity.ttl: 0 is no value of it; write 1s to 24h",
		"pools: [{name: web, queue: {size: 0}, " + upstreams + "}]":                "edge.yml:2:35: pools[0].queue.size: 0 is no value",
		"pools: [{name: web, queue: {timeout: 0s}, " + upstreams + "}]":            "pools[0].queue.timeout: 0 is no value",
		"pools: [{name: web, retry: {attempts: 0}, " + upstreams + "}]":            "pools[0].retry.attempts: 0 is no value of it; 1 sends each request once",
		"pools: [{name: web, retry: {budget: 0}, " + upstreams + "}]":              "pools[0].retry.budget: 0 is no value",
		"pools: [{name: web, timeouts: {connect: 0s}, " + upstreams + "}]":         "pools[0].timeouts.connect: 0 is no value",
		"pools: [{name: web, timeouts: {idle: 0s}, " + upstreams + "}]":            "pools[0].timeouts.idle: 0 is no value",
		"pools: [{name: web, timeouts: {keep: 0s}, " + upstreams + "}]":            "pools[0].timeouts.keep: 0 is no value",
		"pools: [{name: web, drain: 0s, " + upstreams + "}]":                       "pools[0].drain: 0 is no value",
		"pools: [{name: web, health: {path: /, interval: 0s}, " + upstreams + "}]": "pools[0].health.interval: 0 is no value",
		"pools: [{name: web, health: {path: /, timeout: 0s}, " + upstreams + "}]":  "pools[0].health.timeout: 0 is no value",
		"pools: [{name: web, health: {path: /, healthy: 0}, " + upstreams + "}]":   "pools[0].health.healthy: 0 is no value",
		"pools: [{name: web, health: {path: /, unhealthy: 0}, " + upstreams + "}]": "pools[0].health.unhealthy: 0 is no value",
		"pools: [{name: web, passive: {failures: 0}, " + upstreams + "}]":          "pools[0].passive.failures: 0 is no value",
		"pools: [{name: web, passive: {eject: 0s}, " + upstreams + "}]":            "pools[0].passive.eject: 0 is no value",
		"pools: [{name: web, passive: {max_eject: 0s}, " + upstreams + "}]":        "pools[0].passive.max_eject: 0 is no value",
		"pools: [{name: web, passive: {max_out: 0}, " + upstreams + "}]":           "pools[0].passive.max_out: 0 is no value",
		"pools: [{name: web, upstreams: [{url: \"http://a\", weight: 0}]}]":        "edge.yml:2:59: pools[0].upstreams[0].weight: 0 is no value of it; write 1 to 256",
		"pools: [{name: web, upstreams: [{url: \"http://a:99999\"}]}]":             `pools[0].upstreams[0].url: "http://a:99999" is not an upstream`,

		"pools: [{name: web, " + upstreams + "}]\nroutes: [{path: /api/v1/, pool: web}]":   `edge.yml:3:17: routes[0].path: "/api/v1/" is the edge's own`,
		"pools: [{name: web, " + upstreams + "}]\nroutes: [{path: /api/v1, pool: web}]":    `routes[0].path: "/api/v1" is the edge's own`,
		"pools: [{name: web, " + upstreams + "}]\nroutes: [{path: /api/v1/my, pool: web}]": `routes[0].path: "/api/v1/my" is the edge's own`,
		"pools: [{name: web, " + upstreams + "}]\nroutes: [{path: /ws/vnc, pool: web}]":    `routes[0].path: "/ws/vnc" is the edge's own`,
		"pools: [{name: web, " + upstreams + "}]\nroutes: [{path: /health, pool: web}]":    `routes[0].path: "/health" is the edge's own`,

		"pools: [{name: web, affinity: {}, " + upstreams + "}, {name: shop, affinity: {}, " + upstreams + "}]\nroutes: [{path: /a/, pool: web}, {path: /b/, pool: shop}]": `pools[1].affinity.cookie: "SSAFFINITY" with the path "/" is also the cookie of the pool "web", and a client at any host comes to both, by the routes "/a/" and "/b/": each would overwrite the other's; give one of them another name, like SSAFFINITY_SHOP`,

		"trusted_proxies: [0.0.0.0/0]":                `edge.yml:2:19: trusted_proxies[0]: "0.0.0.0/0" is everybody`,
		"trusted_proxies: [10.0.0.1/8]":               `trusted_proxies[0]: "10.0.0.1/8" is an address within a network; write "10.0.0.0/8" for the network or "10.0.0.1" for the address`,
		"listen: {proxy_protocol: [\"::/0\"]}":        `listen.proxy_protocol[0]: "::/0" is everybody`,
		"listen: {proxy_protocol: [\"10.0.0.1/31\"]}": `listen.proxy_protocol[0]: "10.0.0.1/31" is an address within a network; write "10.0.0.0/31"`,
	} {
		if err := parseConfig("edge.yml", []byte(smallestEdge+text+"\n"), defaultEdgeConfig()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
	for _, cookie := range []string{"__Host-x", "__Secure-x", "__secure-x"} {
		text := "tls: {off: true}\npools: [{name: web, affinity: {cookie: " + cookie + "}, " + upstreams + "}]\n"
		if err := parseConfig("edge.yml", []byte(text), defaultEdgeConfig()); err == nil || !strings.Contains(err.Error(), "edge.yml:2:40: pools[0].affinity.cookie: browsers take") {
			t.Errorf("%s without TLS: %v", cookie, err)
		}
	}
}

func TestPoolsRoutesAndProxiesNearToFaultsAreValid(t *testing.T) {
	for _, text := range []string{
		"pools: [{name: web, affinity: {cookie: __Host-x}, slow_start: 0s, passive: {panic: 0}, upstreams: [{url: \"http://a\", max_connections: 0}]}]",
		"pools: [{name: web, upstreams: [{url: \"http://a\"}]}]\nroutes: [{host: a.example.org, path: /api/v1/, pool: web}, {path: /apis, pool: web}, {path: /health/, pool: web}]",
		"trusted_proxies: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.7, 192.0.2.8/32]",
	} {
		if err := parseConfig("edge.yml", []byte(smallestEdge+text+"\n"), defaultEdgeConfig()); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
