package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFaultsOfARuntimeNameTheKey(t *testing.T) {
	tests := []struct {
		name   string
		config RuntimeConfig
		want   []string // "key: part of the text"
	}{
		{"default process", RuntimeConfig{Type: TypeProcess}, nil},
		{"own command", RuntimeConfig{Type: TypeProcess, Command: []string{"Xvnc", ":{display}", "-rfbport={port}", "{{literal}}"}, Desktop: []string{"/usr/bin/startxfce4"}}, nil},
		{"unknown type", RuntimeConfig{Type: "vm"}, []string{`type: "vm"`}},
		{"unknown word", RuntimeConfig{Type: TypeProcess, Command: []string{"Xvnc", "{socket}", "{colour}"}}, []string{"command[2]: {colour} is not a word"}},
		{"open brace", RuntimeConfig{Type: TypeProcess, Desktop: []string{"xterm", "{width"}}, []string{"desktop[1]: without its partner"}},
		{"stray brace", RuntimeConfig{Type: TypeProcess, Desktop: []string{"xterm", "width}"}}, []string{"desktop[1]: without its partner"}},
		{"listens nowhere", RuntimeConfig{Type: TypeProcess, Command: []string{"Xvnc", ":{display}"}}, []string{"command: neither {socket} nor {port}"}},
		{"two displays", RuntimeConfig{Type: TypeProcess, Command: []string{"Xvnc", ":{display}", "{displayfd}", "{port}"}}, []string{"command: both {display} and {displayfd}"}},
		{"no program", RuntimeConfig{Type: TypeProcess, Desktop: []string{""}}, []string{"desktop[0]: must name the program"}},
		{"relative program", RuntimeConfig{Type: TypeProcess, Desktop: []string{"bin/desktop"}}, []string{"desktop[0]: absolute path"}},
		{"variables", RuntimeConfig{Type: TypeProcess, Env: map[string]string{"A=B": "c", "STREAMSPACE_SESSION": "x"}}, []string{`env: "A=B"`, "env: STREAMSPACE_SESSION"}},
		{"negative numbers", RuntimeConfig{Type: TypeDemo, Slots: -1, StartTimeout: -time.Second}, []string{"slots: -1", "start_timeout: -1s"}},
		{"keys of another type", RuntimeConfig{Type: TypeDemo, Command: []string{"x"}, Endpoints: []Endpoint{{}}}, []string{"command: belongs to the type process", "endpoints: belongs to the type static"}},
		{"static without endpoints", RuntimeConfig{Type: TypeStatic, Slots: 2}, []string{"endpoints: at least one", "slots: no meaning"}},
		{"addresses", RuntimeConfig{Type: TypeStatic, Endpoints: []Endpoint{
			{Address: "127.0.0.1:5901"}, {Address: "unix:/run/x"}, {Address: "127.0.0.1"}, {Address: "h:0"}, {Address: "unix:x"}, {Address: "127.0.0.1:5901"},
		}}, []string{`endpoints[2].address: "127.0.0.1"`, `endpoints[3].address: "h:0"`, `endpoints[4].address: absolute path`, "endpoints[5].address: twice"}},
		{"web sockets", RuntimeConfig{Type: TypeStatic, Endpoints: []Endpoint{
			{Address: "ws://127.0.0.1:6080/websockify"}, {Address: "wss://vm", User: "kasm", PasswordFile: "/etc/kasm", Pin: "sha256:" + strings.Repeat("0a", 32)},
			{Address: "ws:///path"}, {Address: "h:1", User: "u", CAFile: "c", Pin: "p"},
			{Address: "ws://a", User: "u"}, {Address: "ws://b", PasswordFile: "/p"}, {Address: "ws://c", User: "a:b", PasswordFile: "/p"},
			{Address: "ws://d", CAFile: "/c"}, {Address: "ws://e", Pin: "sha256:"}, {Address: "wss://f", Pin: "abc"}, {Address: "wss://g", CAFile: "/does/not/exist"},
		}}, []string{
			`endpoints[2].address: "ws:///path" is not`, "endpoints[3].user: ws:// or wss://", "endpoints[3].ca_file: ws:// or wss://", "endpoints[3].pin: ws:// or wss://",
			"endpoints[4].password_file: missing beside user", "endpoints[5].user: missing beside password_file", "endpoints[6].user: has a colon",
			"endpoints[7].ca_file: without TLS", "endpoints[8].pin: without TLS", `endpoints[9].pin: "abc" is not a pin`, "endpoints[10].ca_file: can't be read",
		}},
		{"password files", RuntimeConfig{Type: TypeStatic, Endpoints: []Endpoint{
			{Address: "127.0.0.1:5901", PasswordFile: "/etc/vnc"}, {Address: "127.0.0.1:5902", PasswordFile: "vnc"},
		}}, []string{`endpoints[1].password_file: "vnc" must be an absolute path`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			faults := test.config.Validate()
			if len(faults) != len(test.want) {
				t.Fatalf("faults %v, want %q", faults, test.want)
			}
			for i, want := range test.want {
				key, words, _ := strings.Cut(want, ": ")
				if faults[i].Key != key || !strings.Contains(faults[i].Text, words) {
					t.Errorf("fault %+v, want %q", faults[i], want)
				}
			}
		})
	}
}

func TestTemplatesKeepArgumentsApart(t *testing.T) {
	got, err := expand([]string{"{name}", "-geometry={width}x{height}", "{{{name}}}"}, map[string]string{"name": "two words {width}", "width": "8", "height": "6"})
	if want := []string{"two words {width}", "-geometry=8x6", "{two words {width}}"}; err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "Xvnc", ":{display}", "{{", "}", "{", "{width}x{height}", "{{{name}}}", "{nothing}", "{wi{dth}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, argument string) {
		parts, err := parseTemplate(argument)
		if err != nil {
			return
		}
		var again strings.Builder // the argument can be put together again
		for _, part := range parts {
			if part.word {
				again.WriteString("{" + part.text + "}")
			} else {
				again.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(part.text))
			}
		}
		if again.String() != argument {
			t.Errorf("%q became %q", argument, again.String())
		}
	})
}

func TestStatOfAProcessWithAnEvilName(t *testing.T) {
	line := "42 (a) R 1 (b\n) S 7 8 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0 18446744073709551615\n"
	s, err := parseStat([]byte(line))
	if want := (stat{pid: 42, parent: 7, session: 9, state: 'S', start: 123456}); err != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("1 (init) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 5 1 1 1"))
	f.Add([]byte("42 (a) R 1 (b\n) Z 7 8 9 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 123456"))
	f.Add([]byte("()"))
	f.Add([]byte(")("))
	if own, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(own)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseStat(line)
		if err == nil && (s.pid <= 0 || s.parent < 0) {
			t.Errorf("%q became %+v", line, s)
		}
		// Whatever a program calls itself, the rest is found.
		want := stat{pid: 42, parent: 7, session: 9, state: 'S', start: 123456}
		evil := fmt.Sprintf("42 (%s) S 7 8 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0", line)
		if s, err := parseStat([]byte(evil)); err != nil || s != want {
			t.Errorf("%q became %+v, %v", evil, s, err)
		}
	})
}

// scripted is a connection whose other end says what was written down.
type scripted struct {
	*bytes.Reader
	sent bytes.Buffer
}

func (s *scripted) Write(p []byte) (int, error) { return s.sent.Write(p) }

func TestGreetings(t *testing.T) {
	tests := []struct{ name, says, answers, fault string }{
		{"3.8 without a password", "RFB 003.008\n\x02\x02\x01\x00\x00\x00\x00", "RFB 003.008\n\x01", ""},
		{"3.8 with a password", "RFB 003.008\n\x01\x02", "RFB 003.008\n", ""},
		{"Apple's number", "RFB 003.889\n\x01\x1e", "RFB 003.008\n", ""},
		{"3.7 sends no result", "RFB 003.007\n\x01\x01", "RFB 003.007\n\x01", ""},
		{"3.3", "RFB 003.003\n\x00\x00\x00\x01", "RFB 003.003\n", ""},
		{"3.3 refuses", "RFB 003.003\n\x00\x00\x00\x00\x00\x00\x00\x03bad", "RFB 003.003\n", `refused the connection: "bad"`},
		{"3.8 refuses", "RFB 003.008\n\x00\x00\x00\x00\x03bad", "RFB 003.008\n", `refused the connection: "bad"`},
		{"3.8 fails", "RFB 003.008\n\x01\x01\x00\x00\x00\x01\x00\x00\x00\x03bad", "RFB 003.008\n\x01", `refused the connection: "bad"`},
		{"web server", "HTTP/1.1 400 Bad Request\r\n", "", "does not speak VNC"},
		{"silence", "", "", "sent no VNC greeting"},
		{"leaves", "RFB 003.008\n", "RFB 003.008\n", "left after the greeting"},
		{"refuses without a word", "RFB 003.008\n\x00", "RFB 003.008\n", "without a reason"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conn := &scripted{Reader: bytes.NewReader([]byte(test.says))}
			err := greet(conn)
			if (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%v, want %q", err, test.fault)
			}
			if got := conn.sent.String(); got != test.answers {
				t.Errorf("it was answered %q, want %q", got, test.answers)
			}
		})
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte("RFB 003.008\n\x02\x02\x01\x00\x00\x00\x00"))
	f.Add([]byte("RFB 003.003\n\x00\x00\x00\x00\xff\xff\xff\xffbad"))
	f.Fuzz(func(t *testing.T, says []byte) {
		if err := greet(&scripted{Reader: bytes.NewReader(says)}); err != nil && len(err.Error()) > 5*maxRefusal {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

func TestLogIsShortenedToWholeLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), serverLog)
	log, err := openLog(file)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	line := strings.Repeat("x", 98) + "\n"
	if _, err := log.WriteString(strings.Repeat(line, maxLog/len(line)+2)); err != nil {
		t.Fatal(err)
	}
	if err := trimLog(file); err != nil {
		t.Fatal(err)
	}
	if _, err := log.WriteString("(EE) Fatal server error:\n(EE) no fonts\n\tand so on\n(EE) \n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > keptLog+100 || !bytes.HasPrefix(text, []byte(line)) {
		t.Errorf("%d bytes are left and begin with %.20q", len(text), text)
	}
	for _, killed := range []bool{false, true} {
		if got := lastWords(file, killed); got != "no fonts" {
			t.Errorf("its last words are %q", got)
		}
	}
}

// TestWhoIsKilledHasNoLastWords: the last line that it happened to log is not
// why it ended.
func TestWhoIsKilledHasNoLastWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("starting\nVNCSConnST: Client pixel format\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastWords(file, true); got != "" {
		t.Errorf("killed: %q", got)
	}
	if got := lastWords(file, false); got != "VNCSConnST: Client pixel format" {
		t.Errorf("ended by itself: %q", got)
	}
}

func TestDefaultDesktopTakesWhatIsInstalled(t *testing.T) {
	tests := []struct{ installed, want, missing string }{
		{"openbox xterm", "openbox --startup 'xterm' -fa Monospace -fs 11 -geometry 106x33+163+103", ""},
		{"twm xfce4-terminal", `/bin/sh -c "$0" & exec "$@" twm xfce4-terminal`, ""},
		{"xterm", "xterm -fa Monospace -fs 11 -geometry 106x33+163+103", "no window manager"},
		{"icewm", "icewm", "no terminal"},
		{"", "", "the screen stays empty"},
	}
	for _, test := range tests {
		folder := t.TempDir()
		for _, name := range strings.Fields(test.installed) {
			if err := os.WriteFile(filepath.Join(folder, name), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		argv, missing := defaultDesktop(folder, 1280, 800)
		got := strings.ReplaceAll(strings.Join(argv, " "), folder+"/", "")
		if got != test.want || !strings.Contains(missing, test.missing) || (missing == "") != (test.missing == "") {
			t.Errorf("with %q installed: %q, %q; want %q, %q", test.installed, got, missing, test.want, test.missing)
		}
	}
}
