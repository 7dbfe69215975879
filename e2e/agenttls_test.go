package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentChecksTheEdgesCertificate: where the join token names no key, an
// agent talks to no edge but one that a known authority vouches for by its name.
func TestAgentChecksTheEdgesCertificate(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	writeCertificate(t, at("edge.crt"), at("edge.key"), 1)
	writeCertificate(t, at("other.crt"), at("other.key"), 2)
	address := freePort(t)
	edge := writeText(t, at("edge.yml"), fmt.Sprintf("listen: {https: %q, http: \"\", admin: \"\"}\ntls: {cert_file: %q, key_file: %q}\nstore: {sqlite: {path: %q}}\n",
		address, at("edge.crt"), at("edge.key"), at("data/s.db")))
	in := &installation{t: t, URL: "https://" + address, process: start(t, "edge", "--config", edge)}
	eventually(t, "the edge serves", in.healthy)
	if token, err := os.ReadFile(at("data/join.token")); err != nil || strings.Contains(string(token), "@") {
		t.Fatalf("the join token has a pin, or can't be read: %v", err)
	}
	startAgent := func(name, url, extra string) *process {
		config := writeText(t, at(name+".yml"), fmt.Sprintf("edge: %q\nname: %s\ntoken_file: %q\ndata: %q\nruntimes: [{name: demo, type: demo}]\n%s",
			url, name, at("data/join.token"), at(name), extra))
		return start(t, "agent", "--config", config)
	}
	caFile := func(name string) string { return fmt.Sprintf("tls: {ca_file: %q}\n", at(name)) }
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}

	refused := map[string]*process{
		"or set tls.ca_file":                     startAgent("no-authority", in.URL, ""),
		"no authority in tls.ca_file has signed": startAgent("another-authority", in.URL, caFile("other.crt")),
		"has a certificate for another name":     startAgent("another-name", "https://localhost:"+port, caFile("edge.crt")),
	}
	for words, agent := range refused {
		eventually(t, "the agent says: "+words, func() error {
			if output := agent.output.String(); !strings.Contains(output, words) {
				return fmt.Errorf("its output is %q", output)
			}
			return nil
		})
	}
	if err := in.online(0); err != nil {
		t.Error(err)
	}
	startAgent("trusting", in.URL, caFile("edge.crt"))
	in.agentsOnline(1)
}
