package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBenchRelayMeasuresWhatIsInstalled is the whole thing, small.
func TestBenchRelayMeasuresWhatIsInstalled(t *testing.T) {
	here, _ := installed(relaySystems())
	var all []string
	for _, w := range relayWorks() {
		all = append(all, w.name)
	}
	for _, c := range []struct{ works, systems []string }{
		{[]string{workEcho}, systemNames(here)},
		{all, []string{edge}},
	} {
		runRelay(t, c.works, c.systems)
	}
}

func runRelay(t *testing.T, chosen, systems []string) {
	t.Helper()
	runBench(t, relayComparison(), chosen, systems, "--duration", "300ms", "--viewers", "3")
}

func runBench(t *testing.T, of comparison, chosen, systems []string, flags ...string) {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command(program, append([]string{"bench", of.name, "--work", strings.Join(chosen, ","), "--systems", strings.Join(systems, ","),
		"--rounds", "1", "--out", out}, flags...)...)
	var table, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &table, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &progress, &table)
	}
	text, err := os.ReadFile(filepath.Join(out, of.name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if want := len(chosen) * len(systems); len(r.Measurements) != want {
		t.Errorf("%d measurements, wanted %d", len(r.Measurements), want)
	}
	for _, m := range r.Measurements {
		w, err := of.chooseWorks([]string{m.Work})
		if err != nil || m.Error != "" {
			t.Errorf("%s on %s: %s, %v", m.Work, m.System, m.Error, err)
			continue
		}
		for _, metric := range w[0].metrics {
			if _, ok := m.Values[metric.key]; !ok && m.Updates+m.Answers > 0 {
				t.Errorf("%s on %s has no %s", m.Work, m.System, metric.key)
			}
		}
	}
	for _, name := range systems {
		if !strings.Contains(table.String(), "  "+name+" ") {
			t.Errorf("the table lacks %s:\n%s", name, &table)
		}
	}
}

func TestOneWrongByteFailsTheRun(t *testing.T) {
	for _, system := range []string{edge, edgePlain, edgeAgent} {
		t.Run(system, func(t *testing.T) {
			var table bytes.Buffer
			err := Relay(t.Context(), Options{Program: program, Works: []string{workDesktop}, Systems: []string{system}, Rounds: 1, Viewers: 2,
				Duration: 30 * time.Second, Out: t.TempDir(), Progress: t.Output(), Table: &table, corrupt: 5})
			if err == nil || !strings.Contains(err.Error(), "WRONG BYTES") || !strings.Contains(err.Error(), "in update 5") {
				t.Error(err)
			}
			if !strings.Contains(table.String(), "WRONG BYTES") {
				t.Errorf("the table hides it:\n%s", &table)
			}
		})
	}
}

func TestARunThatIsStoppedLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	progress := writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("0 s: ")) { // everything runs
			cancel(stopped)
		}
		return len(p), nil
	})
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	err := Relay(ctx, Options{Program: program, Works: []string{workHold}, Systems: []string{edgeAgent}, Rounds: 1, Viewers: 5,
		Duration: time.Hour, Out: t.TempDir(), Progress: progress, Table: t.Output()})
	if !errors.Is(err, stopped) {
		t.Error(err)
	}
	nothingIsLeft(t, temp)
}

// nothingIsLeft looks for files and processes of a run whose temporary folder
// was temp.
func nothingIsLeft(t *testing.T, temp string) {
	t.Helper()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the temp folder: %v, %v", left, err)
	}
	for _, line := range commandLines(t, temp) {
		t.Errorf("still runs: %q", line)
	}
}

// commandLines are those of running processes that have text in them.
func commandLines(t *testing.T, text string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, _ := os.ReadFile(file); bytes.Contains(line, []byte(text)) {
			found = append(found, string(line))
		}
	}
	return found
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWrongWordsAreToldWithTheRightOnes(t *testing.T) {
	for _, c := range []struct {
		verb  string
		flags []string
		want  string
	}{
		{"relay", []string{"--work", "bulky"}, "bulk, echo, desktop"},
		{"relay", []string{"--systems", "traefik"}, "haproxy+websockify"},
		{"relay", []string{"--rounds", "0"}, "at least 1"},
		{"relay", []string{"--duration", "1ms"}, "100ms"},
		{"relay", []string{"--viewers", "200000"}, "out of range"},
		{"http", []string{"--work", "bulk"}, "small, first, body64k"},
		{"http", []string{"--systems", "websockify"}, "haproxy-plain"},
		{"http", []string{"--duration", "1500ms"}, "whole seconds"},
		{"http", []string{"--clients", "1"}, "2 to 1000"},
		{"http", []string{"--rate", "0"}, "out of range"},
		{"cluster", []string{"--edges", "1"}, "2 to 9"},
		{"cluster", []string{"--sessions", "10", "--viewers", "11"}, "0 to 10"},
		{"cluster", []string{"--duration", "1ms"}, "100ms"},
	} {
		output, err := exec.Command(program, append([]string{"bench", c.verb}, c.flags...)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(output), c.want) {
			t.Errorf("%s %v: %v: %s", c.verb, c.flags, err, output)
		}
	}
}

func TestAProcessGroupIsMeasuredWithItsChildren(t *testing.T) {
	p, err := launch("sh", t.TempDir(), "/bin/sh", "-c", `sh -c 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done'; echo done; sleep 600 & sleep 600`)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop(0)
	eventually(t, "the loop does not end", func() bool { return p.output.String() == "done" })
	eventually(t, "its children do not run", func() bool {
		count := 0
		if err := members([]int{p.pid()}, func(int, string, []string) error { count++; return nil }); err != nil {
			t.Fatal(err)
		}
		return count >= 2
	})
	if used, err := cpuTime([]int{p.pid()}); err != nil || used[p.pid()] < 5*tick {
		t.Errorf("the child's CPU is not in %v, %v", used, err)
	}
	if pss, err := memory([]int{p.pid()}); err != nil || pss < 64<<10 {
		t.Errorf("%d bytes, %v", pss, err)
	}
	if files, err := openFiles([]int{p.pid()}); err != nil || files < 6 {
		t.Errorf("%d open files, %v", files, err)
	}
}

func TestSystemsThatAreNotInstalledAreLeftOut(t *testing.T) {
	here, missing := installed([]system{{name: "here"}, {name: "both", programs: []string{"sh", "no-such-program"}}, {name: "same", programs: []string{"no-such-program"}}})
	if len(here) != 1 || here[0].name != "here" || len(missing) != 1 || missing[0] != "no-such-program" {
		t.Errorf("%v, %v", systemNames(here), missing)
	}
}
