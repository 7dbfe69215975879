package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

const (
	startAttempts = 5                      // with another display and port, where the agent chose them
	firstLook     = 5 * time.Millisecond   // for a VNC server that starts to greet
	longestLook   = 100 * time.Millisecond // TigerVNC greets after some 150 ms
)

// processDesktop is a VNC server and a desktop program below a keeper, each in
// a session (setsid(2)) of its own, with files for standard output, so that they
// survive the agent. The session lasts as long as the VNC server: a desktop
// program that exits leaves it running.
type processDesktop struct {
	place
	above    *keeper // nil when an agent before this one started it, as is server
	server   *child
	attended bool // this agent knows its processes to be its own
}

// claimPrograms checks that what the runtime starts is installed.
func claimPrograms(p place) error {
	if err := checkProcesses(); err != nil {
		return tunnel.Errorf(tunnel.CodeRuntimeMissing, "%v", err)
	}
	path := searchPath(p.config.Env)
	if len(p.config.Command) == 0 {
		if _, err := findXvnc(path); err != nil {
			return tunnel.Errorf(tunnel.CodeRuntimeMissing, "%v", err)
		}
	}
	for _, part := range []struct {
		key     string
		command []string
	}{{"command", p.config.Command}, {"desktop", p.config.Desktop}} {
		if len(part.command) == 0 || strings.Contains(part.command[0], "{") {
			continue // where it is, is known when it is started
		}
		if _, err := lookPath(part.command[0], path); err != nil {
			return tunnel.Errorf(tunnel.CodeRuntimeMissing, "%s is not installed; install it, or change %s of the runtime %s", part.command[0], part.key, p.config.Name)
		}
	}
	return nil
}

func (d *processDesktop) start(ctx context.Context) error {
	command := d.config.Command
	if len(command) == 0 {
		program, err := findXvnc(searchPath(d.config.Env))
		if err != nil {
			return tunnel.Errorf(tunnel.CodeRuntimeMissing, "%v", err)
		}
		command = xvncCommand(program)
	}
	chosen := usesWord(command, wordDisplay) || usesWord(command, wordPort)
	for attempt := 1; ; attempt++ {
		words, err := d.startServer(ctx, command)
		if err == nil {
			err = d.startDesktop(ctx, words)
		}
		if d.above != nil {
			d.above.dismiss()
		}
		if err == nil {
			return nil
		}
		unlucky := chosen && d.server != nil && d.server.hasEnded()
		// Not under ctx: it may be what made the start fail.
		if failed := d.stop(context.WithoutCancel(ctx)); failed != nil {
			return errors.Join(err, failed)
		}
		d.claims.release(d.session)
		if !unlucky || attempt == startAttempts {
			return err
		}
		d.log.Info("the VNC server ended; trying another display and port", zap.Error(err))
	}
}

// startServer returns what the words of the command stand for.
func (d *processDesktop) startServer(ctx context.Context, command []string) (words map[string]string, err error) {
	d.above, d.server, d.record.Server, d.record.Desktop = nil, nil, nil, nil
	if words, err = d.words(command); err != nil {
		return nil, tunnel.Errorf(tunnel.CodeUnavailable, "%v", err)
	}
	if err := d.prepareFolder(); err != nil {
		return nil, tunnel.Errorf(tunnel.CodeUnavailable, "the session's folder can't be filled: %v; look at the disk of the agent's data folder", err)
	}
	var display *displayReader
	if usesWord(command, wordDisplayFD) {
		if display, err = newDisplayReader(); err != nil {
			return nil, err
		}
		defer display.close()
	}
	if d.above, err = d.startKeeper(display); err != nil {
		return nil, tunnel.Errorf(tunnel.CodeUnavailable, "the session's keeper can't be started: %v", err)
	}
	d.record.Display = words[wordDisplay]
	if d.server, err = d.launch(ctx, command, words, d.dir, serverLog, display != nil); err != nil {
		return nil, d.notReady(ctx, err)
	}
	d.record.Server, d.attended = &d.server.process, true
	if err := d.save(); err != nil {
		return nil, err
	}
	if display != nil {
		if d.record.Display, err = display.read(ctx); err != nil {
			return nil, d.notReady(ctx, err)
		}
		words[wordDisplay] = d.record.Display
	}
	if err := d.awaitGreeting(ctx); err != nil {
		return nil, d.notReady(ctx, err)
	}
	return words, nil
}

// words are what those of the command stand for.
func (d *processDesktop) words(command []string) (words map[string]string, err error) {
	words = map[string]string{
		wordWidth: strconv.Itoa(d.record.Width), wordHeight: strconv.Itoa(d.record.Height),
		wordSession: d.session, wordDir: d.dir, wordName: "StreamSpace " + d.session[len(d.session)-8:],
		wordXauth: filepath.Join(d.dir, xauthFile), wordSocket: socketArgument(d.dir),
		wordDisplayFD: "3", // the first of exec.Cmd.ExtraFiles
	}
	d.record.Address = unixPrefix + filepath.Join(d.dir, socketFile)
	if usesWord(command, wordDisplay) {
		if words[wordDisplay], err = d.claims.freeDisplay(d.session); err != nil {
			return nil, err
		}
	}
	if usesWord(command, wordPort) {
		if words[wordPort], err = d.claims.freePort(d.session); err != nil {
			return nil, err
		}
		if !usesWord(command, wordSocket) {
			d.record.Address = net.JoinHostPort("127.0.0.1", words[wordPort])
		}
	}
	return words, nil
}

func (d *processDesktop) prepareFolder() error {
	if err := os.MkdirAll(filepath.Join(d.dir, runtimeData), 0o700); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.dir, socketFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeXauthority(filepath.Join(d.dir, xauthFile)); err != nil {
		return err
	}
	boot, err := bootID()
	d.record.Boot = boot
	return err
}

// awaitGreeting looks for the VNC server until it greets, ends, or ctx ends.
func (d *processDesktop) awaitGreeting(ctx context.Context) error {
	for pause := firstLook; ; pause = min(2*pause, longestLook) {
		err := checkGreeting(ctx, d.record.Address)
		switch {
		case d.server.hasEnded(): // whoever greets, it is not this one
			return errServerEnded
		case err == nil:
			return nil
		}
		select {
		case <-time.After(pause):
		case <-d.server.ended:
			return errServerEnded
		case <-ctx.Done():
			return err
		}
	}
}

var errServerEnded = errors.New("it ended before it greeted")

// notReady says why a VNC server does not greet.
func (d *processDesktop) notReady(ctx context.Context, err error) error {
	if errors.Is(err, errServerEnded) {
		select {
		case <-d.server.ended:
			return fmt.Errorf("%s %s before it greeted%s", d.name(), d.server.status, d.lastWords(d.server.killed))
		case <-ctx.Done():
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return tunnel.Errorf(tunnel.CodeTimeout, "%s did not greet within %s (start_timeout): %v%s", d.name(), d.config.startTimeout(), err, d.lastWords(false))
	}
	return err
}

// startDesktop runs what is on the screen, if anything is installed.
func (d *processDesktop) startDesktop(ctx context.Context, words map[string]string) error {
	command := d.config.Desktop
	if len(command) == 0 {
		if d.record.Display == "" {
			return d.save() // not an X server: the command brings its own desktop
		}
		var missing string
		command, missing = defaultDesktop(searchPath(d.config.Env), d.record.Width, d.record.Height)
		if missing != "" {
			d.log.Warn(missing)
		}
	}
	if len(command) > 0 {
		program, err := d.launch(ctx, command, words, homeFolder(d.config.Env), desktopLog, false)
		if err != nil {
			return err
		}
		d.record.Desktop = &program.process
	}
	return d.save()
}

// launch has the keeper start a program. Its end is noticed and logged as long
// as the agent runs.
func (d *processDesktop) launch(ctx context.Context, template []string, words map[string]string, folder, logName string, display bool) (*child, error) {
	command, err := expand(template, words)
	if err != nil {
		return nil, err
	}
	path, err := lookPath(command[0], searchPath(d.config.Env))
	if err != nil {
		return nil, tunnel.Errorf(tunnel.CodeRuntimeMissing, "%s is not installed", command[0])
	}
	started, err := d.above.launch(ctx, order{
		Path: path, Args: command, Dir: folder, Log: filepath.Join(d.dir, logName), Display: display, Lease: d.lease,
		Env: environment(d.config.Env, d.session, d.agent, d.dir, d.record.Display),
	})
	if err != nil {
		return nil, tunnel.Errorf(tunnel.CodeUnavailable, "%s can't be started: %v", command[0], err)
	}
	d.spawn(func(ctx context.Context) {
		if started.watch(ctx) {
			d.log.Info("a session's process ended", zap.String("program", command[0]), zap.Int("pid", started.PID), zap.String("how", started.status))
		}
	})
	return started, nil
}

func (d *processDesktop) name() string {
	if len(d.config.Command) > 0 {
		return filepath.Base(d.config.Command[0])
	}
	return "Xtigervnc"
}

func (d *processDesktop) lastWords(killed bool) string {
	if line := lastWords(filepath.Join(d.dir, serverLog), killed); line != "" {
		return fmt.Sprintf("; the last line of its log is %q", line)
	}
	return ""
}

func (d *processDesktop) adopt(ctx context.Context) error {
	boot, err := bootID()
	switch {
	case err != nil:
		return err
	case d.record.Boot != boot:
		return errors.New("the host was restarted")
	case d.record.Server == nil:
		return fmt.Errorf("its state on disk names no process of %s", d.name())
	}
	err = checkGreeting(ctx, d.record.Address)
	switch {
	case !d.record.Server.alive(): // whoever greets, it is not this one
		return fmt.Errorf("%s ended while the agent was away%s", d.name(), d.lastWords(true))
	case err != nil:
		return fmt.Errorf("%s does not answer the agent that came back: %w", d.name(), err)
	}
	d.attended = true
	return nil
}

func (d *processDesktop) wait(ctx context.Context) error {
	if d.server == nil {
		if err := d.record.Server.wait(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%s ended or was killed%s", d.name(), d.lastWords(true)) // which of them, only its parent could know
	}
	select {
	case <-d.server.ended:
		return fmt.Errorf("%s %s%s", d.name(), d.server.status, d.lastWords(d.server.killed))
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *processDesktop) dial(ctx context.Context) (net.Conn, error) {
	return dialAddress(ctx, d.record.Address)
}

func (d *processDesktop) welcome(io.ReadWriter) error { return nil }

func (d *processDesktop) stop(ctx context.Context) error {
	if err := newTree(d.session, d.agent, d.leaders()...).end(ctx, d.record.Server); err != nil {
		return err
	}
	if d.record.Display != "" {
		removeDisplay(d.record.Display, d.record.Server)
	}
	return unmountBeneath(d.dir)
}

// leaders are the processes by which the rest is found. Those that ended while
// no agent looked are left out: their numbers may name others by now.
func (d *processDesktop) leaders() []process {
	boot, err := bootID()
	if err != nil || d.record.Boot != boot {
		return nil
	}
	var leaders []process
	for _, p := range []*process{d.record.Server, d.record.Desktop} {
		if p != nil && (d.attended || p.alive()) {
			leaders = append(leaders, *p)
		}
	}
	return leaders
}
