package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestChecksSayTheSame of a good file; an agent's warns of what is not installed.
func TestChecksSayTheSame(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	token := write("join.token", "ssk_x@sha256:"+strings.Repeat("00", 32)+"\n")
	edge := write("edge.yml", smallestEdge)
	agent := write("agent.yml", "edge: https://e\ntoken_file: "+token+
		"\nruntimes: [{name: demo, type: demo, slots: 1}, {name: desk, type: process, command: [/does/not/exist, \"{socket}\"]}]\n")
	for _, c := range []struct {
		command interface{ Run(*surroundings) error }
		from    string
		warning string
	}{
		{&edgeCommand{Config: edge, Check: true}, edge, ""},
		{&agentCommand{Config: agent, Check: true}, agent, agent + ": warning: runtimes[1]: no desktop of desk can start: "},
		{&agentCommand{Edge: []string{"https://e"}, TokenFile: token, Runtime: []string{"demo"}, Check: true}, "the command line", ""},
	} {
		var stdout, stderr bytes.Buffer
		if err := c.command.Run(&surroundings{stdout: &stdout, stderr: &stderr}); err != nil {
			t.Fatalf("%s: %v", c.from, err)
		}
		if want := c.from + " is valid\n"; stdout.String() != want {
			t.Errorf("the check says %q, want %q", stdout.String(), want)
		}
		warned := stderr.String()
		if (warned == "") != (c.warning == "") || !strings.HasPrefix(warned, c.warning) || strings.Count(warned, "\n") > 1 {
			t.Errorf("%s: it warns %q, want %q", c.from, warned, c.warning)
		}
		if c.warning != "" && !strings.Contains(warned, "/does/not/exist") {
			t.Errorf("the warning %q does not name the program", warned)
		}
	}
}
