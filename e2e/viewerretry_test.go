package e2e

import (
	"bufio"
	"crypto/des"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPageKeepsItsWaits: attempts that fail, of this page and of others, change
// how many viewers a session has, which events tell; the page must not take
// them for a reason to try again at once.
func TestPageKeepsItsWaits(t *testing.T) {
	server := startRandomServer(t, 0)
	in := startDev(t, t.TempDir(), "--runtime", "demo", "--direct-allow", "127.0.0.0/8:1-65535")
	id := in.running(map[string]any{"endpoint": server.Addr().String()}).ID
	_ = server.Close()
	p := page{t, browser(t)}
	p.logIn(in)
	p.sees("open")
	p.eval(`asked = [], fetch = (ask => (url, options) => {
		if (url.endsWith('/vnc')) asked.push(performance.now());
		return ask(url, options);
	})(fetch), ''`)
	p.click("open")
	var asked []float64
	eventually(t, "the page has tried five times", func() error {
		if conn, err := in.view(p.ctx, in.ticket(id, "view")); err == nil { // another viewer, which fares no better
			_ = conn.Close()
		}
		if err := json.Unmarshal([]byte(p.eval("JSON.stringify(asked)")), &asked); err != nil {
			return err
		}
		if len(asked) < 5 {
			return fmt.Errorf("it has tried at %v ms", asked)
		}
		return nil
	})
	for i, least := range []float64{125, 250, 500, 1000} { // half of each wait is for chance
		if gap := asked[i+1] - asked[i]; gap < least {
			t.Errorf("attempt %d came %.0f ms after the one before, not %.0f ms or more", i+2, gap, least)
		}
	}
}

// TestPageAsksForThePasswordAgain: a password that the VNC server refuses is
// said to be wrong where it is asked for, and given only by the person.
func TestPageAsksForThePasswordAgain(t *testing.T) {
	pair := startEdgeAndAgent(t, staticRuntime(vncAuthServer(t, "right")), "")
	id := pair.running(nil).ID
	p := page{t, browser(t)}
	p.logIn(pair.installation)
	p.open(pair.installation, "/desktop/"+id)
	field := chromedp.CSS("#ask-password")
	p.do("the password is asked for", chromedp.WaitVisible(field))
	if words := p.text("ask-wrong"); words != "" {
		t.Errorf("before anything was wrong it says %q", words)
	}
	p.do("giving a wrong one", chromedp.SendKeys(field, "wrong"+kb.Enter))
	p.says("ask-wrong", "did not accept")
	p.do("giving the right one", chromedp.SendKeys(field, "right"+kb.Enter))
	p.badge("live")

	p.do("reloading", chromedp.Reload())
	p.do("it is asked for anew", chromedp.WaitVisible(field), chromedp.KeyEvent(kb.Escape))
	p.badge("ended")
	p.says("badge", "Disconnected")
	p.says("reason", "asked for a password")
}

// vncAuthServer is a VNC server that wants a password.
func vncAuthServer(t *testing.T, password string) (address string) {
	t.Helper()
	// The file that vncpasswd writes: the password under a key that is no secret.
	cipher, err := des.NewCipher([]byte{0xe8, 0x4a, 0xd6, 0x60, 0xc4, 0x72, 0x1a, 0xe0})
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, des.BlockSize)
	copy(block, password)
	cipher.Encrypt(block, block)
	return tigerVNC(t, "-SecurityTypes", "VncAuth", "-PasswordFile", writeText(t, filepath.Join(t.TempDir(), "password"), string(block)))
}

// tigerVNC runs a VNC server of its own beside the agent.
func tigerVNC(t *testing.T, arguments ...string) (address string) {
	t.Helper()
	address = freePort(t)
	displays, display, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer displays.Close()
	server := exec.Command("Xtigervnc", append([]string{"-displayfd", "3", "-rfbport", address[strings.LastIndexByte(address, ':')+1:], "-localhost",
		"-nolisten", "tcp", "-geometry", "320x240"}, arguments...)...)
	server.Env = environment(t)
	server.ExtraFiles = []*os.File{display}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	_ = display.Close()
	_ = displays.SetReadDeadline(time.Now().Add(patience))
	if _, err := bufio.NewReader(displays).ReadString('\n'); err != nil {
		t.Fatalf("the VNC server did not start: %v", err)
	}
	return address
}
