package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edgeOption changes how startEdge starts an edge.
type edgeOption func(listen *string, variables *[]string)

// withListen adds keys to the config's listen.
func withListen(keys string) edgeOption {
	return func(listen *string, _ *[]string) { *listen += ", " + keys }
}

func withVariable(variable string) edgeOption {
	return func(_ *string, variables *[]string) { *variables = append(*variables, variable) }
}

// startEdge runs an edge with a certificate of its own, and lines in its config.
func startEdge(t *testing.T, lines string, options ...edgeOption) *installation {
	folder := t.TempDir()
	address, admin := freePort(t), freePort(t)
	listen, variables := fmt.Sprintf(`https: %q, http: "", admin: %q`, address, admin), environment(t)
	for _, option := range options {
		option(&listen, &variables)
	}
	file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf("listen: {%s}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\n%s",
		listen, filepath.Join(folder, "data", "s.db"), lines))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: startWith(t, variables, "edge", "--config", file)}
	in.serves(filepath.Join(folder, "data"))
	return in
}

// serves waits until the edge does, and takes the admin key that is in its folder.
func (in *installation) serves(folder string) {
	in.t.Helper()
	eventually(in.t, "the edge serves", in.healthy)
	key, err := os.ReadFile(filepath.Join(folder, "admin.key"))
	if err != nil {
		in.t.Fatal(err)
	}
	in.APIKey = strings.TrimSpace(string(key))
}
