package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheCommandLineHelps(t *testing.T) {
	token := filepath.Join(t.TempDir(), "missing")
	agent := []string{"agent", "--edge", "https://e", "--token-file", token}
	for _, c := range []struct {
		args   []string
		status int
		says   string
		not    string
	}{
		{[]string{"--version"}, exitDone, "streamspace " + version, ""},
		{[]string{"version"}, exitDone, "streamspace " + version, ""},
		{[]string{"help"}, exitDone, "Usage: streamspace <command>", ""},
		{[]string{"help", "dev"}, exitDone, "Usage: streamspace dev", ""},
		{[]string{"dev", "--lsten", "x"}, exitUsage, `unknown flag --lsten, did you mean "--listen"?` + "\nRun \"streamspace dev --help\"", ""},
		{[]string{"dev", "--listen"}, exitUsage, "--listen needs a value: --listen HOST:PORT\n", "EOL"},
		{[]string{"agent", "--runtime"}, exitUsage, "--runtime needs a value: --runtime TYPE", "<arg>"},
		{[]string{"agent", "--capacity"}, exitUsage, "--capacity needs a value: --capacity N\n", "EOL"},
		{[]string{"edg"}, exitUsage, `did you mean "edge"?` + "\nRun \"streamspace --help\"", ""},
		{append(agent, "--capacity", "0"), exitUsage, "capacity: 0 is too small", ""},
		{append(agent, "--capacity", "5"), exitUsage, "token_file", "capacity"},
	} {
		var out bytes.Buffer
		status := run(c.args, &out, &out)
		if status != c.status || !strings.Contains(out.String(), c.says) || c.not != "" && strings.Contains(out.String(), c.not) {
			t.Errorf("streamspace %s: status %d, %q; want %d and %q without %q", strings.Join(c.args, " "), status, out.String(), c.status, c.says, c.not)
		}
	}
}
