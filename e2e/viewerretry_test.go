package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

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
	pair := startEdgeAndAgent(t, staticRuntime(startLockedXvnc(t, "right")), "")
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
