package hostclock

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// teller is a program that answers each line with its wall clock, in Unix
// seconds, and how many seconds have gone by since it began.
const teller = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(time.Now().Unix(), int(time.Since(began).Seconds()))
	}
}
`

func TestAProgramGoesByItsClock(t *testing.T) {
	folder := t.TempDir()
	overlay, err := Overlay(folder)
	if err != nil {
		t.Fatal(err)
	}
	source, program := filepath.Join(folder, "main.go"), filepath.Join(folder, "teller")
	if err := os.WriteFile(source, []byte(teller), 0o644); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	c := New(t, folder)
	for name, cmd := range map[string]*exec.Cmd{
		"of Go": withEnvironment(exec.Command(program), c.Environ()),
		"of C":  withEnvironment(exec.Command("bash", "-c", "while read; do date +'%s 0'; done"), c.Preload()),
	} {
		t.Run(name, func(t *testing.T) {
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewScanner(out)
			for _, ahead := range []time.Duration{0, time.Hour, -10 * time.Minute, 0} {
				c.Set(ahead)
				before := time.Now().Add(ahead).Unix()
				fmt.Fprintln(in)
				if !answers.Scan() {
					t.Fatal(answers.Err())
				}
				after := time.Now().Add(ahead).Unix()
				wall, since, _ := strings.Cut(answers.Text(), " ")
				if told, err := strconv.ParseInt(wall, 10, 64); err != nil || told < before || told > after {
					t.Errorf("%v ahead: it tells %s, not %d to %d", ahead, wall, before, after)
				}
				if passed, err := strconv.Atoi(since); err != nil || passed < 0 || passed > 60 {
					t.Errorf("%v ahead: %s s since it began", ahead, since)
				}
			}
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func withEnvironment(cmd *exec.Cmd, more []string) *exec.Cmd {
	cmd.Env = append(os.Environ(), more...)
	return cmd
}
