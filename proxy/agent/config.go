package agent

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
)

// The types of runtime.
const (
	TypeProcess = "process" // one VNC server a session, started here
	TypeStatic  = "static"  // VNC servers that exist already, one session each
	TypeDemo    = "demo"    // the built-in VNC server
)

const (
	defaultStartTimeout = 20 * time.Second
	defaultWidth        = 1280 // pixels
	defaultHeight       = 800
)

// RuntimeConfig is one way in which sessions are started.
type RuntimeConfig struct {
	Name string
	Type string // TypeProcess, TypeStatic or TypeDemo

	// Command is the VNC server's command line, with the words of template.go
	// in braces; process only. Empty: TigerVNC on a UNIX socket in the
	// session's own folder, for which no password and no TCP port is needed.
	// It runs in the session's folder; {socket} may be relative to that.
	Command []string
	// Desktop is what runs inside, with the same words; process only. Empty: a
	// window manager and a terminal, as far as they are installed. A session
	// lasts as long as its VNC server, whatever becomes of the desktop.
	Desktop []string
	Env     map[string]string // added to both; process only

	Endpoints []Endpoint // static only

	Slots        int           // sessions at once; 0: only the agent's capacity binds
	StartTimeout time.Duration // until the VNC server greets; 0: 20 s
}

// Endpoint is a VNC server that exists already.
type Endpoint struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address"` // "host:port", "unix:/path", or a WebSocket's "ws://…" or "wss://…"
	// PasswordFile holds the password of a VNC server that asks for one, in
	// plain text; read at each use, a newline at its end left out. Then the
	// agent goes through the handshake and viewers need no password. Empty: the
	// handshake is the viewer's.
	PasswordFile string `json:"password_file,omitempty"`
	// For addresses that are WebSockets. With User the password is of HTTP's basic
	// authentication; a VNC password is the viewer's to give then.
	User   string `json:"user,omitempty"`
	CAFile string `json:"ca_file,omitempty"` // see websocket.Trust
	Pin    string `json:"pin,omitempty"`
}

// Fault is what is wrong with one key of a RuntimeConfig.
type Fault struct {
	Key  string // "command", "endpoints[1].address"
	Text string // which value is wrong and what to change
}

// Validate tells everything that is wrong with the config, except its Name:
// whoever joins several knows which names are taken.
func (c RuntimeConfig) Validate() []Fault {
	var faults []Fault
	add := func(key, format string, args ...any) {
		faults = append(faults, Fault{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Slots < 0 {
		add("slots", "%d is too small; leave it out for no limit of its own", c.Slots)
	}
	if c.StartTimeout < 0 {
		add("start_timeout", "%s is negative; leave it out for %s", c.StartTimeout, defaultStartTimeout)
	}
	switch c.Type {
	case TypeProcess:
		c.validateProcess(add)
	case TypeStatic:
		c.validateStatic(add)
	case TypeDemo:
	default:
		add("type", "%q is not a type; use %s, %s or %s", c.Type, TypeProcess, TypeStatic, TypeDemo)
		return faults
	}
	c.rejectForeignKeys(add)
	return faults
}

func (c RuntimeConfig) rejectForeignKeys(add func(key, format string, args ...any)) {
	for _, key := range []struct {
		name, of string
		given    bool
	}{
		{"command", TypeProcess, len(c.Command) > 0},
		{"desktop", TypeProcess, len(c.Desktop) > 0},
		{"env", TypeProcess, len(c.Env) > 0},
		{"endpoints", TypeStatic, len(c.Endpoints) > 0},
	} {
		if key.given && c.Type != key.of {
			add(key.name, "belongs to the type %s, and this runtime's type is %s; remove it", key.of, c.Type)
		}
	}
}

func (c RuntimeConfig) validateProcess(add func(key, format string, args ...any)) {
	used := validateTemplate("command", c.Command, add)
	validateTemplate("desktop", c.Desktop, add)
	if len(c.Command) > 0 && !used[wordSocket] && !used[wordPort] {
		add("command", "uses neither {%s} nor {%s}, so nobody would know where its VNC server listens", wordSocket, wordPort)
	}
	if used[wordDisplay] && used[wordDisplayFD] {
		add("command", "uses both {%s} and {%s}; use the one that its server understands", wordDisplay, wordDisplayFD)
	}
	for _, name := range sortedKeys(c.Env) {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(c.Env[name], "\x00"):
			add("env", "%q can't be an environment variable", name)
		case name == sessionVariable || name == agentVariable:
			add("env", "%s is set by the agent, by which it finds a session's processes; remove it", name)
		}
	}
}

func validateTemplate(key string, command []string, add func(key, format string, args ...any)) (used map[string]bool) {
	if len(command) > 0 && command[0] == "" {
		add(key+"[0]", "is empty; it must name the program")
	}
	if len(command) > 0 && strings.Contains(command[0], "/") && !strings.ContainsAny(command[0][:1], "/{") {
		add(key+"[0]", "%q must be a program's name or an absolute path", command[0])
	}
	used = map[string]bool{}
	for i, argument := range command {
		words, err := templateWords(argument)
		if err != nil {
			add(fmt.Sprintf("%s[%d]", key, i), "%s", err)
		}
		for _, word := range words {
			used[word] = true
		}
	}
	return used
}

func (c RuntimeConfig) validateStatic(add func(key, format string, args ...any)) {
	if len(c.Endpoints) == 0 {
		add("endpoints", "at least one is needed, like {name: vm-1, address: \"127.0.0.1:5901\"}")
	}
	if c.Slots > 0 {
		add("slots", "has no meaning with the type %s, which has one session for each of its endpoints; remove it", TypeStatic)
	}
	var seen []string
	for i, e := range c.Endpoints {
		key := fmt.Sprintf("endpoints[%d].address", i)
		if err := checkAddress(e.Address); err != nil {
			add(key, "%s", err)
		}
		if slices.Contains(seen, e.Address) {
			add(key, "%q is given twice; one session has it at a time", e.Address)
		}
		if e.Name != "" && slices.ContainsFunc(c.Endpoints[:i], func(other Endpoint) bool { return other.Name == e.Name }) {
			add(fmt.Sprintf("endpoints[%d].name", i), "%q is given twice; a session asks for an endpoint by its name", e.Name)
		}
		if e.PasswordFile != "" && !filepath.IsAbs(e.PasswordFile) {
			add(fmt.Sprintf("endpoints[%d].password_file", i), "%q must be an absolute path", e.PasswordFile)
		}
		for _, fault := range e.webSocketFaults() {
			add(fmt.Sprintf("endpoints[%d].%s", i, fault.Key), "%s", fault.Text)
		}
		seen = append(seen, e.Address)
	}
}

// webSocketFaults are those of the keys that only a WebSocket has.
func (e Endpoint) webSocketFaults() (faults []Fault) {
	add := func(key, text string) { faults = append(faults, Fault{Key: key, Text: text}) }
	if !websocket.Is(e.Address) {
		for _, key := range []struct{ name, value string }{{"user", e.User}, {"ca_file", e.CAFile}, {"pin", e.Pin}} {
			if key.value != "" {
				add(key.name, "belongs to an address that begins with ws:// or wss://; remove it")
			}
		}
		return faults
	}
	switch {
	case strings.Contains(e.User, ":"):
		add("user", fmt.Sprintf("%q has a colon, which HTTP's basic authentication can't carry", e.User))
	case e.User != "" && e.PasswordFile == "":
		add("password_file", "is missing beside user")
	case e.User == "" && e.PasswordFile != "":
		add("user", "is missing beside password_file; behind a WebSocket a password without a user, VNC's, is the viewer's to give")
	}
	switch secure := strings.HasPrefix(e.Address, "wss://"); {
	case !secure && e.CAFile != "":
		add("ca_file", "has no meaning without TLS; use wss:// or remove it")
	case !secure && e.Pin != "":
		add("pin", "has no meaning without TLS; use wss:// or remove it")
	case secure:
		if err := e.trust().Check(); err != nil {
			key := "ca_file"
			if e.Pin != "" {
				key = "pin"
			}
			add(key, err.Error())
		}
	}
	return faults
}

// endpointNames are those by which a session may ask for one.
func (c RuntimeConfig) endpointNames() (names []string) {
	for _, e := range c.Endpoints {
		if e.Name != "" {
			names = append(names, e.Name)
		}
	}
	return names
}

// Missing is what keeps every session of the runtime from starting on this host
// now, for a person; empty: nothing.
func (c RuntimeConfig) Missing() string {
	if c.Type != TypeProcess {
		return ""
	}
	if err := claimPrograms(place{config: c}); err != nil {
		return err.Error()
	}
	return ""
}

func checkAddress(address string) error {
	if websocket.Is(address) {
		_, err := websocket.Parse(address)
		return err
	}
	if path, isUnix := strings.CutPrefix(address, unixPrefix); isUnix {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q needs an absolute path, like unix:/run/vm-1/vnc.sock", address)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not an address; use \"host:port\", \"unix:/path\" or \"ws://host:port/path\"", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port from 1 to 65535", address)
	}
	return nil
}

func (c RuntimeConfig) startTimeout() time.Duration {
	if c.StartTimeout == 0 {
		return defaultStartTimeout
	}
	return c.StartTimeout
}

// slots is how many sessions may run at once; 0: only the capacity binds.
func (c RuntimeConfig) slots() int {
	if c.Type == TypeStatic {
		return len(c.Endpoints)
	}
	return c.Slots
}
