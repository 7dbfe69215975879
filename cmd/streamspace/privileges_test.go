package main

import (
	"os"
	"path/filepath"
	"regexp"
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
