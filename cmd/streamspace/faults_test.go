package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryKnownFaultHasItsTests holds each row of docs/faults.md against the
// tests that exist.
func TestEveryKnownFaultHasItsTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir(filepath.Join("..", ".."), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if strings.HasSuffix(file, "_test.go") {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			tests.Write(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	name := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	faults := row.FindAllStringSubmatch(string(page), -1)
	if lines := strings.Count(string(page), "\n|"); len(faults) < 2 || lines != len(faults)+1 { // the line below the heading
		t.Fatalf("docs/faults.md has %d lines of a table, of which %d are rows of three columns", lines, len(faults))
	}
	for _, fault := range faults[1:] {
		named := name.FindAllStringSubmatch(fault[3], -1)
		if len(named) == 0 {
			t.Errorf("docs/faults.md names no test of %q", fault[1])
		}
		for _, match := range named {
			if !strings.Contains(tests.String(), "\nfunc "+match[1]+"(t *testing.T)") {
				t.Errorf("docs/faults.md names %s, which does not exist", match[1])
			}
		}
	}
}
