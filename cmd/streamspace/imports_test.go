package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/streamspace-dev/streamspace-edge"

// importTable reads the table of docs/architecture.md: which of our packages
// the code of each may import. Tests may import more. nil: all.
func importTable(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z0-9/]+)`")
	table := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|.*\\| ([^|]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		allowed := []string{}
		for _, name := range names.FindAllStringSubmatch(row[2], -1) {
			allowed = append(allowed, name[1])
		}
		switch what := strings.Fields(row[2])[0]; {
		case what == "everything":
			allowed = nil
		case what != "nothing" && len(allowed) == 0:
			t.Errorf("the row of %s says %q, which is neither rooms nor everything nor nothing", row[1], row[2])
		}
		table[row[1]] = allowed
	}
	if len(table) < 15 {
		t.Fatalf("the table has %d rows", len(table))
	}
	return table
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	root := filepath.Join("..", "..")
	allowed := importTable(t)
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
		checkFile(t, room, file, allowed[room])
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

// checkFile wants a file of room to import no others of ours than allowed; nil:
// whatever it likes.
func checkFile(t *testing.T, room, file string, allowed []string) {
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
		if found && allowed != nil && !slices.Contains(allowed, ours) {
			t.Errorf("%s imports %s; %s may import only %v", file, ours, room, allowed)
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
