package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// What every process of a session has in its environment, by which its agent
// finds it again.
const (
	sessionVariable = "STREAMSPACE_SESSION"
	agentVariable   = "STREAMSPACE_AGENT"
)

// keeperVariable is in the environment of a session's keeper, and of no program
// that it starts.
const keeperVariable = "STREAMSPACE_KEEPER"

const (
	installXvnc = "install TigerVNC: apt install tigervnc-standalone-server (Debian, Ubuntu) or dnf install tigervnc-server-minimal (Fedora, RHEL)"
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
)

// ProbeXvnc finds the VNC server of the process runtime's default command. Its
// error says what to install.
func ProbeXvnc() (path string, err error) { return findXvnc(searchPath(nil)) }

// TigerVNC is Xtigervnc where several kinds of Xvnc may be installed side by
// side, and Xvnc elsewhere.
func findXvnc(path string) (string, error) {
	for _, name := range []string{"Xtigervnc", "Xvnc"} {
		if found, err := lookPath(name, path); err == nil {
			return found, nil
		}
	}
	return "", errors.New("the VNC server Xtigervnc is not installed; " + installXvnc)
}

func xvncCommand(program string) []string {
	return []string{
		program,
		"-displayfd", "{displayfd}", // takes a free display without a race
		"-rfbunixpath", "{socket}", "-rfbunixmode", "384", // 0600
		"-rfbport=-1", // newer versions would listen on TCP as well
		"-nolisten", "tcp",
		"-auth", "{xauth}",
		"-SecurityTypes", "None", // the socket is in a folder of mode 0700
		"-UseBlacklist=0", // all clients of a socket count as one host, so a few viewers that leave early would lock out the rest
		"-geometry", "{width}x{height}", "-depth", "24",
		"-AlwaysShared=1", "-AcceptSetDesktopSize=1", "-noreset",
		"-desktop", "{name}",
	}
}

// defaultDesktop is a window manager and a terminal of those that are
// installed, and what to say when one is missing. argv is nil when both are.
func defaultDesktop(path string, width, height int) (argv []string, missing string) {
	manager := firstFound(path, "openbox", "xfwm4", "icewm", "fluxbox", "twm")
	var terminal []string
	if program := firstFound(path, "xfce4-terminal", "xterm", "x-terminal-emulator", "lxterminal", "konsole", "urxvt"); program != "" {
		terminal = []string{program}
		if filepath.Base(program) == "xterm" {
			terminal = append(terminal, xtermOptions(width, height)...)
		}
	}
	switch {
	case manager == "" && terminal == nil:
		return nil, "neither a window manager nor a terminal is installed, so the screen stays empty; apt install openbox xterm"
	case manager == "":
		return terminal, "no window manager is installed; apt install openbox"
	case terminal == nil:
		return []string{manager}, "no terminal is installed; apt install xterm"
	case filepath.Base(manager) == "openbox":
		// It starts the terminal once it manages windows, so that this one gets the focus.
		return []string{manager, "--startup", "'" + terminal[0] + "' " + strings.Join(terminal[1:], " ")}, ""
	default:
		return append([]string{"/bin/sh", "-c", `"$0" & exec "$@"`, manager}, terminal...), ""
	}
}

// xtermOptions put a readable xterm into the middle, under the pointer: where
// no window manager gives the focus, the pointer does.
func xtermOptions(width, height int) []string {
	const cellWidth, cellHeight = 9, 18 // pixels of Monospace 11 at 96 dpi
	columns := min(max(width*3/4/cellWidth, 40), 120)
	rows := min(max(height*3/4/cellHeight, 10), 36)
	left := max((width-columns*cellWidth)/2, 0)
	top := max((height-rows*cellHeight)/2, 0)
	return []string{"-fa", "Monospace", "-fs", "11", "-geometry", fmt.Sprintf("%dx%d+%d+%d", columns, rows, left, top)}
}

func firstFound(path string, names ...string) string {
	for _, name := range names {
		if found, err := lookPath(name, path); err == nil {
			return found
		}
	}
	return ""
}

// lookPath is exec.LookPath with the session's PATH in place of the agent's.
func lookPath(name, path string) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, folder := range filepath.SplitList(path) {
			if filepath.IsAbs(folder) {
				candidates = append(candidates, filepath.Join(folder, name))
			}
		}
	}
	for _, file := range candidates {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// searchPath is the PATH of a session's processes.
func searchPath(configured map[string]string) string {
	if path, found := configured["PATH"]; found {
		return path
	}
	if path := os.Getenv("PATH"); path != "" {
		return path
	}
	return defaultPath
}

// homeFolder is where desktop programs start.
func homeFolder(configured map[string]string) string {
	home := configured["HOME"]
	if home == "" {
		home, _ = os.UserHomeDir() // a service may have none
	}
	if info, err := os.Stat(home); err != nil || !info.IsDir() {
		return "/"
	}
	return home
}

// inherited are the variables of the agent's environment that its sessions get
// too. Others may hold secrets; an operator passes them on with env.
func inherited(name string) bool {
	switch name {
	case "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

// environment of a session's processes; display is empty when there is none.
func environment(configured map[string]string, session, agent, dir, display string) []string {
	variables := map[string]string{"LANG": "C.UTF-8"}
	if me, err := user.Current(); err == nil { // a service may have none of these
		variables["HOME"], variables["USER"], variables["LOGNAME"] = me.HomeDir, me.Username, me.Username
	}
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); inherited(name) {
			variables[name] = value
		}
	}
	variables["PATH"] = searchPath(nil)
	variables["XDG_RUNTIME_DIR"] = filepath.Join(dir, runtimeData)
	variables["XAUTHORITY"] = filepath.Join(dir, xauthFile)
	if display != "" {
		variables["DISPLAY"] = ":" + display
		variables["XDG_SESSION_TYPE"] = "x11"
	}
	for name, value := range configured {
		variables[name] = value
	}
	variables[sessionVariable] = session
	variables[agentVariable] = agent
	list := make([]string, 0, len(variables))
	for _, name := range sortedKeys(variables) {
		list = append(list, name+"="+variables[name])
	}
	return list
}
