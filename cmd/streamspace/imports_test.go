package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/streamspace-dev/streamspace-edge"

// allowed is the import table of docs/architecture.md: which of our packages
// the code of each may import. Tests may import more.
var allowed = map[string][]string{
	"store":            {},
	"store/sqldb":      {"store"},
	"store/storetest":  {"store"},
	"balancer":         {"store"},
	"session":          {"store", "balancer"},
	"api/auth":         {"store"},
	"api/console":      {},
	"api":              {"store", "api/auth"},
	"proxy/rfb":        {},
	"proxy/reactor":    {},
	"proxy/websocket":  {"proxy/reactor"},
	"proxy/tunnel":     {"proxy/reactor"},
	"proxy/agent/demo": {"proxy/rfb"},
	"bench":            {},
	"proxy/agent":      {"proxy/tunnel", "proxy/rfb", "proxy/websocket", "proxy/agent/demo"},
	"proxy":            {"proxy/reactor", "proxy/rfb", "proxy/tunnel", "proxy/websocket"},
	"e2e":              {},
	"cmd/streamspace": {
		"api", "api/auth", "api/console", "balancer", "bench", "proxy", "proxy/agent", "proxy/reactor", "proxy/tunnel", "session", "store", "store/sqldb",
	},
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	root := filepath.Join("..", "..")
	rooms := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "node_modules" || name == "bin" || (strings.HasPrefix(name, ".") && file != root)) {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		relative, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		room := filepath.ToSlash(relative)
		rooms[room] = true
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		checkFile(t, room, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range rooms {
		if _, ok := allowed[room]; !ok {
			t.Errorf("package %s is not in the table", room)
		}
	}
	for room := range allowed {
		if !rooms[room] {
			t.Errorf("the table names %s, which has no Go file", room)
		}
	}
}

func checkFile(t *testing.T, room, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		ours, found := strings.CutPrefix(imported, module+"/")
		if found && !slices.Contains(allowed[room], ours) {
			t.Errorf("%s imports %s; %s may import only %v", file, ours, room, allowed[room])
		}
	}
	if slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, path.Base(room)) {
		t.Errorf("%s: a package is named for what it holds", room)
	}
	for _, declaration := range parsed.Decls {
		if isInit(declaration) {
			t.Errorf("%s has an init function", file)
		}
	}
}

func isInit(declaration ast.Decl) bool {
	function, ok := declaration.(*ast.FuncDecl)
	return ok && function.Recv == nil && function.Name.Name == "init"
}
