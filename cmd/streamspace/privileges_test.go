package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestDesktopsAreNotRootAsShipped: who may open a desktop must not become root
// on its host, unless an operator wants that.
func TestDesktopsAreNotRootAsShipped(t *testing.T) {
	unit, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", "streamspace-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`(?m)^User=(.+)$`).FindSubmatch(unit)
	if user == nil || string(user[1]) == "root" || string(user[1]) == "0" {
		t.Errorf("the agent's unit has the user %q", user)
	}
}

// TestAKeyOfAnotherUserIsToldWithTheWayOut: the edge's unit does not run as the
// root that ran --check.
func TestAKeyOfAnotherUserIsToldWithTheWayOut(t *testing.T) {
	denied := cannotRead("/etc/edge.key", &fs.PathError{Op: "open", Path: "/etc/edge.key", Err: syscall.EACCES})
	want := fmt.Sprintf("/etc/edge.key can't be read: permission denied for user %d; let a group of the edge read it", os.Geteuid())
	if !strings.HasPrefix(denied, want) {
		t.Errorf("%q, want %q", denied, want)
	}
	if missing := cannotRead("a", &fs.PathError{Err: syscall.ENOENT}); missing != "a can't be read: no such file or directory" {
		t.Errorf("%q", missing)
	}
	unit, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", "streamspace-edge.service"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(unit); strings.Contains(text, "DynamicUser=yes") && !strings.Contains(text, "SupplementaryGroups=") {
		t.Error("the unit's user is not root and it does not say how to give that user a key")
	}
}

func TestAnAgentThatRunsAsRootWarns(t *testing.T) {
	process, demo := runtimeConfig{Name: "a", Type: "process"}, runtimeConfig{Name: "b", Type: "demo"}
	for _, c := range []struct {
		uid      int
		runtimes []runtimeConfig
		want     bool
	}{
		{0, []runtimeConfig{demo, process}, true},
		{0, []runtimeConfig{demo}, false}, // runs nothing of a person's
		{1000, []runtimeConfig{process}, false},
	} {
		if got := (&agentConfig{Runtimes: c.runtimes}).desktopsAreRoot(c.uid); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestTheShippedAgentConfigIsValid, but for the token that an operator copies.
func TestTheShippedAgentConfigIsValid(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", "agent.yml"))
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "join.token")
	if err := os.WriteFile(token, []byte("ssk_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := defaultAgentConfig()
	if err := parseConfig("agent.yml", text, config, func() { config.TokenFile = token }); err != nil {
		t.Error(err)
	}
}
