package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const smallestEdge = "tls: {self_signed: true}\n"

func TestExampleConfigIsValid(t *testing.T) {
	config := defaultEdgeConfig()
	err := parseConfig("edge.yml", []byte(`
listen: {https: ":8443", http: "", admin: "127.0.0.1:9090"}
tls: {self_signed: true}
node: {id: edge-1, advertise: "https://10.0.0.11:443"}
store:
  sqlite: {path: /tmp/x.db}
vnc:
  {max_streams: 50, max_streams_per_session: 5, max_streams_per_user: 10, bandwidth: {per_stream: 2.5MB, per_node: 50MiB},
  ticket_ttl: 30m, allowed_origins: ["https://desk.example.org"], idle_timeout: 0, max_duration: 8h, clipboard_in: false}
drain: {timeout: 10s}
direct: {allow: ["10.0.0.0/8:5900-5999"]}
agents: {strategy: round_robin, headroom: 0, lost: restart}
limits: {sessions_per_user: 3}
`), config)
	if err != nil {
		t.Fatal(err)
	}
	if config.Agents.Lost != lostRestart || config.Limits.SessionsPerUser != 3 {
		t.Errorf("decoded %+v, %+v", config.Agents, config.Limits)
	}
	if config.VNC.TicketTTL.std() != 30*time.Minute || config.VNC.MaxDuration.std() != 8*time.Hour || config.Agents.Headroom != 0 || config.Listen.HTTP != "" {
		t.Errorf("decoded %+v", config)
	}
	if v := config.VNC; v.MaxStreamsPerSession != 5 || v.MaxStreamsPerUser != 10 || v.Bandwidth != (bandwidthConfig{2_500_000, 50 << 20}) || v.ClipboardIn {
		t.Errorf("decoded %+v", v)
	}
}

func TestByteRates(t *testing.T) {
	for text, want := range map[string]byteRate{
		"0": 0, "10KB": 10_000, "10KiB": 10_240, "0.5MB": 500_000, "1.5GB": 1_500_000_000, "1GiB": 1 << 30, "1000GB": 1_000_000_000_000,
	} {
		var got byteRate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v; not %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "MB", "5M", "5Mb", "5mb", "5Mbit", "5 MB", "5MB/s", "-5MB", "+5MB", "1e3MB", "0x5MB", "infMB", "NaNMB", ".5MB", "5.MB", "1001GB", "99999999999999999999GB"} {
		var got byteRate
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzByteRate(f *testing.F) {
	for _, text := range []string{"0", "50MB", "1.5GiB", "5Mbit", "1000GB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got byteRate
		if err := got.UnmarshalText([]byte(text)); got < 0 || got > highestByteRate || err != nil && got != 0 {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	})
}

func TestFaultsNameTheirPlace(t *testing.T) {
	short := filepath.Join(t.TempDir(), "cluster.secret")
	if err := os.WriteFile(short, []byte(strings.Repeat("x", 31)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                       "edge.yml: tls: choose one",
		"# only a comment\n":                     "edge.yml: tls: choose one",
		"- a\n- b\n":                             "edge.yml:1:1: a section with keys is expected",
		"tls: [\n":                               "not YAML",
		smallestEdge + "nope: 1\n":               "edge.yml:2:1: nope: unknown key",
		smallestEdge + "drain: {timeout: soon}":  `edge.yml:2:18: drain.timeout: "soon" is not a duration`,
		smallestEdge + "drain: {timeout: 30}":    `edge.yml:2:18: drain.timeout: "30" is not a duration`,
		smallestEdge + "drain: 5s":               "edge.yml:2:8: drain: a section with keys is expected",
		smallestEdge + "vnc: {max_streams: 0}":   "edge.yml:2:20: vnc.max_streams: 0 is too small",
		smallestEdge + "vnc: {max_streams: 1.5}": `edge.yml:2:20: vnc.max_streams: a whole number is expected, not "1.5"`,
		smallestEdge + "vnc: {max_streams_per_session: -1}":                                                                        "edge.yml:2:32: vnc.max_streams_per_session: -1 is too small",
		smallestEdge + "vnc: {max_streams_per_user: -1}":                                                                           "edge.yml:2:29: vnc.max_streams_per_user: -1 is too small",
		smallestEdge + "vnc: {bandwidth: {per_stream: 9KB}}":                                                                       "edge.yml:2:31: vnc.bandwidth.per_stream: 9000 bytes a second is too slow",
		smallestEdge + "vnc: {bandwidth: {per_node: 400Mbit}}":                                                                     `edge.yml:2:29: vnc.bandwidth.per_node: "400Mbit" is not a number of bytes a second`,
		smallestEdge + "vnc: {bandwidth: 50MB}":                                                                                    "edge.yml:2:18: vnc.bandwidth: a section with keys is expected",
		smallestEdge + "direct: {allow: 5900}":                                                                                     `edge.yml:2:17: direct.allow: a list is expected, not "5900"`,
		smallestEdge + "direct: {allow: [\"10.0.0.0/8:5900\"], passwords: [{endpoint: \"10.0.0.5:5901\", file: /}]}":               `edge.yml:2:61: direct.passwords[0].endpoint: "10.0.0.5:5901" is outside direct.allow`,
		smallestEdge + "direct: {allow: [\"10.0.0.0/8:5900\"], passwords: [{endpoint: \"10.0.0.5:5900\", file: /does/not/exist}]}": "edge.yml:2:84: direct.passwords[0].file: can't be read: open /does/not/exist",
		smallestEdge + "direct: {passwords: [{endpoint: \"10.0.0.0/8:5900\", password: secret}]}":                                  "edge.yml:2:52: direct.passwords[0].password: unknown key; here are allowed: endpoint, file, user",
		smallestEdge + "store: {mysql: {}}":                                                                                        "edge.yml:2:9: store.mysql: unknown key; here are allowed: postgres, sqlite",
		smallestEdge + "tls: {off: true}\n":                                                                                        "edge.yml:2:1: tls: is set twice; the first is on line 1",
		smallestEdge + "pools:\n  - name: web":                                                                                     "edge.yml:3:5: pools[0].upstreams: at least one is needed",
		smallestEdge + "pools:\n  - {name: web, upstreams: [{url: 10.0.0.21}]}\nroutes: [{path: app, pool: wbe}]\n":                `edge.yml:4:17: routes[0].path: "app" must begin with a slash`,
		smallestEdge + "pools: [{name: web, policy: fastest, upstreams: [{url: \"http://a\"}]}]\n":                                 `edge.yml:2:29: pools[0].policy: "fastest" is not a policy; use one of: round_robin`,
		smallestEdge + "pools: [{name: web, affinity: {ttl: 48h}, upstreams: [{url: \"http://a\", wait: 1}]}]\n":                   "edge.yml:2:73: pools[0].upstreams[0].wait: unknown key",
		smallestEdge + "pools: [{name: web, affinity: {cookie: __Host-streamspace}, upstreams: [{url: \"http://a\"}]}]\n":          `edge.yml:2:40: pools[0].affinity.cookie: "__Host-streamspace" is the console's own log-in cookie`,
		smallestEdge + "pools: [{name: web, affinity: {cookie: streamspace}, upstreams: [{url: \"http://a\"}]}]\n":                 `pools[0].affinity.cookie: "streamspace" is the console's own log-in cookie`,
		smallestEdge + "cluster: {secret_file: /does/not/exist}\n":                                                                 "edge.yml:2:24: cluster.secret_file: can't be read: open /does/not/exist",
		smallestEdge + "cluster: {secret_file: " + short + "}\n":                                                                   "edge.yml:2:24: cluster.secret_file: " + short + " has 31 bytes, too few for a secret",
		smallestEdge + "trusted_proxies: [10.0.0.0/33]\n":                                                                          `edge.yml:2:19: trusted_proxies[0]: "10.0.0.0/33" is not a network`,
		smallestEdge + "access_log: {sample: 0.5}\n":                                                                               "edge.yml:2:13: access_log.file: is missing",
		smallestEdge + "access_log: {file: stdout, sample: 1.5}\n":                                                                 "edge.yml:2:36: access_log.sample: 1.5 is out of range",
		smallestEdge + "access_log: {file: /does/not/exist/log}\n":                                                                 "edge.yml:2:20: access_log.file: the folder of \"/does/not/exist/log\" does not exist",
		smallestEdge + "limits: {connections_per_address: -1}\n":                                                                   "edge.yml:2:35: limits.connections_per_address: -1 is too small",
		smallestEdge + "rate_limits: [{name: a, by: address}]\n":                                                                   "rate_limits[0].requests: 0 is out of range",
		smallestEdge + "rate_limits: [{name: a, by: user, requests: 1}]\n":                                                         `edge.yml:2:29: rate_limits[0].by: "user" is not one of`,
		"tls: {off: true, hsts: {max_age: 4320h}}\n":                                                                               "tls.hsts: can't be used with tls.off",
		"tls: {self_signed: true, hsts: {include_subdomains: true}}\n":                                                             "tls.hsts.max_age: must be a second at least",
		"tls: {self_signed: true, hsts: {max_age: 4320h, preload: true}}\n":                                                        "tls.hsts.preload: the lists take only hosts",
		smallestEdge + "agents: {lost: forget}":                                                                                    `edge.yml:2:16: agents.lost: "forget" is unknown; fail or restart`,
		smallestEdge + "limits: {sessions_per_user: -1}":                                                                           "edge.yml:2:29: limits.sessions_per_user: -1 is too small; at least 1, or 0 for no bound",
		smallestEdge + "agents: {headroom: 1}":                                                                                     "edge.yml:2:20: agents.headroom: 1 is out of range",
		smallestEdge + "agents: {headroom: -0.1}":                                                                                  "edge.yml:2:20: agents.headroom: -0.1 is out of range",
		smallestEdge + "agents: {headroom: .nan}":                                                                                  "edge.yml:2:20: agents.headroom: NaN is out of range",
		smallestEdge + "node: {advertise: ftp://x}":                                                                                "node.advertise",
		smallestEdge + "---\n" + smallestEdge:                                                                                      "edge.yml",
		smallestEdge + "listen: {https: \":x\"}":                                                                                   "edge.yml:2:17: listen.https",
	} {
		err := parseConfig("edge.yml", []byte(text), defaultEdgeConfig())
		var faults *configError
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestOneFaultForWhatIsNotServedYet(t *testing.T) {
	for key, text := range map[string]string{
		"tls.acme": "tls: {acme: {email: a@example.org}}\n",
	} {
		err := parseConfig("edge.yml", []byte(text), defaultEdgeConfig())
		var faults *configError
		if !errors.As(err, &faults) || len(faults.Faults) != 1 || faults.Faults[0].Path != key {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestFaultsComeInOneOrder: by their place; those without one as docs/config.md
// has their keys.
func TestFaultsComeInOneOrder(t *testing.T) {
	const text = "listen: {admin: a, http: b, https: c}\nvnc: {max_streams_per_user: -2, max_streams_per_session: -1}\n"
	inFile := []string{" tls:", ":1:17: listen.admin:", ":1:26: listen.http:", ":1:36: listen.https:", ":2:29: vnc.max_streams_per_user:", ":2:58: vnc.max_streams_per_session:"}
	byFlag := []string{"--listen:", "--http:", "--admin:"}
	inOrder := func(err error, want []string) {
		t.Helper()
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%v", err)
		}
		for i, line := range lines {
			if !strings.Contains(line, want[i]) {
				t.Fatalf("line %d of\n%v\nis not %q", i, err, want[i])
			}
		}
	}
	for range 20 {
		inOrder(parseConfig("edge.yml", []byte(text), defaultEdgeConfig()), inFile)
		config := defaultEdgeConfig()
		config.Listen = listenConfig{HTTPS: "a", HTTP: "b", Admin: "c"}
		config.TLS.SelfSigned = true
		config.flags = map[string]string{"listen.https": "--listen", "listen.http": "--http", "listen.admin": "--admin"}
		inOrder(config.checkFlags(), byFlag)
	}
}

func TestOriginsThatCouldNeverMatchAreFaults(t *testing.T) {
	noHost := []string{"https://", "https://:8443", "https://x:0", "https://x:99999", "https://x:y"}
	for _, origin := range append(noHost, "https://a.example.org/", "https://a*b.example.org", "https://u:p@x.example.org", "https://x?y", "x.example.org") {
		if err := parseConfig("edge.yml", []byte(smallestEdge+"vnc: {allowed_origins: [\""+origin+"\"]}"), defaultEdgeConfig()); err == nil {
			t.Errorf("%s is allowed", origin)
		}
	}
	for _, advertise := range append(noHost, "https://*.example.org", "https://u:p@x.example.org", "https://x.example.org?y=1", "https://x.example.org#z") {
		if err := parseConfig("edge.yml", []byte(smallestEdge+"node: {advertise: \""+advertise+"\"}"), defaultEdgeConfig()); err == nil {
			t.Errorf("%s is advertised", advertise)
		}
	}
	config := defaultEdgeConfig()
	if err := parseConfig("edge.yml", []byte(smallestEdge+"node: {advertise: \"https://desk.example.org/\"}\nvnc: {allowed_origins: [\"https://*.example.net\"]}"), config); err != nil {
		t.Fatal(err)
	}
	if got, want := config.allowedOrigins(), []string{"https://*.example.net", "https://desk.example.org"}; !slices.Equal(got, want) {
		t.Errorf("allowed are %v, want %v: the installation's own origin belongs to them", got, want)
	}
}

func TestListenersNeedAnAddressEach(t *testing.T) {
	for _, c := range []struct{ listen, want string }{
		{`https: ":8443", http: ":8443"`, `edge.yml:2:32: listen.http: ":8443" is the port of listen.https (":8443")`},
		{`https: ":443", http: "127.0.0.1:https"`, `listen.http: "127.0.0.1:https" is the port of listen.https (":443")`},
		{`http: "0.0.0.0:9090"`, `listen.admin: "127.0.0.1:9090" is the port of listen.http ("0.0.0.0:9090")`},
		{`https: "[::]:8443", http: "localhost:80", admin: "LOCALHOST:80"`, `listen.admin: "LOCALHOST:80" is the port of listen.http ("localhost:80")`},
		{`https: "127.0.0.1:0", http: "127.0.0.1:0", admin: "127.0.0.1:0"`, ""},
		{`https: "127.0.0.1:8443", http: "127.0.0.2:8443", admin: "[::1]:8443"`, ""},
		{`https: ":8443", http: "", admin: ""`, ""},
	} {
		err := parseConfig("edge.yml", []byte(smallestEdge+"listen: {"+c.listen+"}\n"), defaultEdgeConfig())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", c.listen, err, c.want)
		}
	}
	config := defaultEdgeConfig()
	config.TLS.SelfSigned = true
	config.Listen = listenConfig{HTTPS: ":1", Admin: ":1"}
	config.flags = map[string]string{"listen.https": "--listen", "listen.admin": "--admin"}
	if err := config.checkFlags(); err == nil || !strings.Contains(err.Error(), `--admin: ":1" is the port of --listen (":1")`) {
		t.Errorf("by flags: %v", err)
	}
}

func TestWithoutTLSTheDefaultOfHTTPSIsNotOpened(t *testing.T) {
	config := defaultEdgeConfig()
	if err := parseConfig("edge.yml", []byte("tls: {off: true}\nlisten: {http: \":8080\"}\n"), config); err != nil || config.Listen.HTTPS != "" {
		t.Errorf("listen.https is %q, %v", config.Listen.HTTPS, err)
	}
	config = defaultEdgeConfig()
	if err := parseConfig("edge.yml", []byte("tls: {off: true}\nlisten: {https: \":443\"}\n"), config); err != nil || config.Listen.HTTPS != ":443" {
		t.Errorf("listen.https is %q although it is set, %v", config.Listen.HTTPS, err)
	}
	if err := parseConfig("edge.yml", []byte("tls: {off: true}\nlisten: {http: \"\"}\n"), defaultEdgeConfig()); err == nil {
		t.Error("an edge that listens nowhere is valid")
	}
}

func TestAgentConfigFaults(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("ssk_x@sha256:"+strings.Repeat("00", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := "edge: https://edge.example.org\ntoken_file: " + token + "\n"
	if err := parseConfig("agent.yml", []byte(good), defaultAgentConfig()); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"edge: edge.example.org\n":       "edge: \"edge.example.org\" is not an origin",
		"edge: https://:8443\n":          "edge: \"https://:8443\" is not an origin",
		"edge: \"\"\n":                   "edge: must be the edge's address",
		"edge: []\n":                     "edge: must be the edge's address",
		"edge: {a: b}\n":                 "agent.yml:1:7: edge: a list is expected, not a section",
		"edge: [https://e, x]\n":         "agent.yml:1:19: edge[1]: \"x\" is not an origin",
		"edge: [https://e, https://e]\n": "edge[1]: \"https://e\" is there twice",
		good + "capacity: 0\n":           "capacity: 0 is too small",
		good + "runtimes: [{name: a, type: demo, slots: 0}]\n":                                                          "runtimes[0].slots: 0 is too small",
		good + "on_shutdown: explode\n":                                                                                 "on_shutdown",
		good + "runtimes: []\n":                                                                                         "runtimes: at least one",
		good + "runtimes: [{name: a, type: magic}]\n":                                                                   "runtimes[0].type",
		good + "runtimes: [{name: a, type: static}]\n":                                                                  "runtimes[0].endpoints",
		good + "runtimes: [{name: a, type: process, command: [\"{no}\"]}]":                                              "runtimes[0].command",
		good + "runtimes: [{name: a, type: static, endpoints: [{address: \"h:1\", password_file: vnc}]}]\n":             "runtimes[0].endpoints[0].password_file: \"vnc\" must be",
		good + "runtimes: [{name: a, type: static, endpoints: [{address: \"h:1\", password_file: /does/not/exist}]}]\n": "runtimes[0].endpoints[0].password_file: /does/not/exist can't be read: no such file",
		good + "runtimes: [{name: a, type: static, endpoints: [{address: \"h:1\"}]}, {name: b, type: static, endpoints: [{address: \"h:1\"}]}]\n": `runtimes[1].endpoints[0].address: "h:1" belongs to the runtime a`,
		good + "runtimes: [{name: a, type: static, endpoints: [{name: v, address: \"h:1\"}, {name: v, address: \"h:2\"}]}]\n":                     `runtimes[0].endpoints[1].name: "v" is given twice`,
		good + "labels: {endpoint: vm-1}\n":              "labels.endpoint: is reserved",
		"edge: https://e\ntoken_file: /does/not/exist\n": "token_file: /does/not/exist can't be read",
	} {
		if err := parseConfig("agent.yml", []byte(text), defaultAgentConfig()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestAnAgentMayHaveSeveralEdges(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("ssk_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"edge: https://a\n":                       {"https://a"},
		"edge: [https://a]\n":                     {"https://a"},
		"edge: [https://a, \"https://b:8443\"]\n": {"https://a", "https://b:8443"},
	} {
		config := defaultAgentConfig()
		if err := parseConfig("agent.yml", []byte(text+"token_file: "+token+"\n"), config); err != nil || !slices.Equal(config.Edge, want) {
			t.Errorf("%q: %q, %v; want %q", text, config.Edge, err, want)
		}
	}
	config := defaultAgentConfig()
	flags := &agentCommand{Edge: []string{"https://a", "https://b"}, TokenFile: token}
	if err := flags.load(config); err != nil || !slices.Equal(config.Edge, flags.Edge) {
		t.Errorf("by flags: %q, %v", config.Edge, err)
	}
}

func TestSelfSignedCertificateSurvivesRestartsAndRenewsUnderItsKey(t *testing.T) {
	dir := t.TempDir()
	first, err := selfSigned(dir, []string{"localhost", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := selfSigned(dir, []string{"localhost", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if !first.current.Load().Leaf.Equal(second.current.Load().Leaf) {
		t.Error("a restart made a new certificate")
	}
	third, err := selfSigned(dir, []string{"localhost", "desk.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if third.current.Load().Leaf.Equal(first.current.Load().Leaf) || third.pin() != first.pin() {
		t.Error("a new host must renew the certificate under the same key")
	}
	if info, err := os.Stat(filepath.Join(dir, "self-signed.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add(smallestEdge)
	f.Add("listen: {https: \":1\"}\nvnc: [a, {b: c}]\n")
	f.Add("a: &a {b: *a}\n")
	f.Add("tls: &t {off: true}\nnode: *t\n")
	f.Add("? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		err := parseConfig("edge.yml", []byte(text), defaultEdgeConfig())
		var faults *configError
		if err != nil && (!errors.As(err, &faults) || len(faults.Faults) == 0) {
			t.Errorf("an error without faults: %v", err)
		}
	})
}

func TestHSTSIsSentAsItIsSet(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		", hsts: {max_age: 4320h}": "max-age=15552000",
		", hsts: {max_age: 10000h, include_subdomains: true, preload: true}": "max-age=36000000; includeSubDomains; preload",
	} {
		config := defaultEdgeConfig()
		if err := parseConfig("edge.yml", []byte("tls: {self_signed: true"+text+"}\n"), config); err != nil {
			t.Fatal(err)
		}
		if got := config.TLS.HSTS.header(); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
