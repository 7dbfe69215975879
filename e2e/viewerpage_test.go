package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func (p page) open(in *installation, path string) {
	p.t.Helper()
	p.do("opening "+path, chromedp.Navigate(in.URL+path))
}

func (p page) sees(name string) {
	p.t.Helper()
	p.do(name+" is shown", chromedp.WaitVisible(testID(name)))
}

func (p page) seesNo(name string) {
	p.t.Helper()
	p.do(name+" is not shown", chromedp.WaitNotVisible(testID(name)))
}

func (p page) text(name string) string {
	p.t.Helper()
	return p.eval(fmt.Sprintf(`document.querySelector('[data-testid=%q]').innerText`, name))
}

// says waits until that part of the page shows the words.
func (p page) says(name, words string) {
	p.t.Helper()
	p.sees(name)
	eventually(p.t, fmt.Sprintf("%s says %q", name, words), func() error {
		if text := p.text(name); !strings.Contains(text, words) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
}

// TestPageWarnsBeforeTheDesktopEnds: the page and the list tell of an idle end
// before it comes; a key takes it back, and when nobody minds it the page says
// why it ended and stays so.
func TestPageWarnsBeforeTheDesktopEnds(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	id := in.running(map[string]any{"idle_timeout": "10s"}).ID
	p := page{t, browser(t)}
	p.logIn(in)
	p.open(in, "/desktop/"+id)
	p.badge("live")
	p.says("warning", "because nobody has used it. Move the pointer or press a key to keep it.")
	p.do("pressing a key", chromedp.KeyEvent("x"))
	p.seesNo("warning")

	p.click("back")
	p.says("desktop-ends", "Ends in 0:0")
	p.click("watch")
	p.badge("live")
	p.says("warning", "Whoever controls it can keep it.")
	p.do("pressing a key", chromedp.KeyEvent("x"))
	p.badge("ended")
	p.seesNo("warning")
	p.says("reason", "not used")
	in.becomes(id, "terminated")
	p.open(in, "/desktop/"+id)
	p.badge("ended")
	p.says("reason", "Nobody used it")
}

// TestWatchingPage: who only looks sees the picture change and how good the
// connection is, and nothing typed there reaches the desktop.
func TestWatchingPage(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "process")
	file, exists := folderOf(t)
	id := in.running(nil).ID
	p := page{t, browser(t)}
	p.logIn(in)
	p.open(in, "/desktop/"+id)
	p.badge("live")
	p.pictureChanges("")
	p.typeCommand("touch "+file("controlled")+"; while sleep .2; do date +%N; done &", exists("controlled"))

	p.open(in, "/desktop/"+id+"?mode=view")
	p.badge("live")
	p.sees("view-only-mark")
	for _, name := range []string{"ctrl-alt-del", "view-only", "stop"} {
		if p.eval(fmt.Sprintf(`String(document.querySelector('[data-testid=%q]'))`, name)) != "null" {
			t.Errorf("a page that only looks has %s", name)
		}
	}
	p.pictureChanges(p.pictureChanges(""))
	p.do("clicking and typing", chromedp.MouseClickXY(640, 400), chromedp.KeyEvent("touch "+file("watched")+kb.Enter))

	p.do("the badge has figures", chromedp.WaitVisible(chromedp.CSS(`[data-testid="badge"]:is([data-quality="good"], [data-quality="fair"], [data-quality="poor"])`)))
	p.says("badge", " ms")
	p.do("opening the panel by keyboard", chromedp.Focus(testID("badge")), chromedp.KeyEvent(kb.Enter))
	p.says("quality-facts", " a second")
	for _, fact := range []string{"Round trip", "Response", "Updates", "Stalls", "Received"} {
		p.says("quality-facts", fact)
	}
	p.do("closing it", chromedp.KeyEvent(kb.Escape))
	p.seesNo("quality-facts")

	// A page that sends everything, with a ticket to look.
	p.open(in, "/")
	p.sees("open")
	p.eval(`fetch = (ask => (url, options) => {
		if (options.body?.includes('"control"')) options.body = '{"mode":"view"}';
		return ask(url, options);
	})(fetch), ''`)
	p.click("open")
	p.badge("live")
	p.pictureChanges("")
	p.do("clicking and typing", chromedp.MouseClickXY(640, 400), chromedp.KeyEvent("touch "+file("cheated")+kb.Enter))
	p.sees("ctrl-alt-del")
	in.viewersAre(id, "view")

	// What is typed now comes after what was typed before.
	p.open(in, "/desktop/"+id+"?mode=view")
	p.badge("live")
	p.click("take-control")
	p.badge("live")
	p.typeCommand("touch "+file("again"), exists("again"))
	for _, name := range []string{"watched", "cheated"} {
		if exists(name)() == nil {
			t.Errorf("%s: what was typed by who may only look has reached the desktop", name)
		}
	}
}

// viewersAre waits until the session's viewers are those, by their modes.
func (in *installation) viewersAre(id string, modes ...string) {
	in.t.Helper()
	eventually(in.t, fmt.Sprintf("the session's viewers are %v", modes), func() error {
		var told struct {
			Streams []struct {
				Mode string `json:"mode"`
			} `json:"streams"`
		}
		in.call("GET", "/api/v1/sessions/"+id, nil, http.StatusOK, &told)
		var now []string
		for _, s := range told.Streams {
			now = append(now, s.Mode)
		}
		if !slices.Equal(now, modes) {
			return fmt.Errorf("they are %v", now)
		}
		return nil
	})
}

// TestPageThatIsLeftLetsGo: browsers keep a page that was left for the way back,
// with its connections; it must not stay a viewer.
func TestPageThatIsLeftLetsGo(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	id := in.running(nil).ID
	p := page{t, browser(t)}
	p.logIn(in)
	p.open(in, "/desktop/"+id)
	p.badge("live")
	p.open(in, "/")
	in.viewersAre(id)
	p.eval("history.back(), ''")
	in.viewersAre(id, "control")
}

// TestPageWaitsForRoom: the page says why it is not let in and comes in by
// itself when there is room; it also says that pasting is off.
func TestPageWaitsForRoom(t *testing.T) {
	pair := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "vnc: {max_streams_per_session: 1, clipboard_in: false}")
	id := pair.running(nil).ID
	first := pair.mustView(testContext(t), id)
	if _, _, err := rfbHello(first); err != nil {
		t.Fatal(err)
	}
	p := page{t, browser(t)}
	p.logIn(pair.installation)
	p.open(pair.installation, "/desktop/"+id)
	p.badge("reconnecting")
	p.says("reason", "as many as it may have at once")
	p.says("badge", "Waiting")
	_ = first.Close()
	p.badge("live")
	p.do("opening the clipboard", chromedp.Click(testID("clipboard")))
	p.says("clipboard-one-way", "Pasting into desktops is off")
	p.seesNo("clipboard-send")
}

// TestPageThatCannotOnlyLook: where the edge can't follow the VNC server's
// security, it can't keep a viewer to looking; the page says so and offers what can be had.
func TestPageThatCannotOnlyLook(t *testing.T) {
	pair := startEdgeAndAgent(t, staticRuntime(startXvnc(t, "-SecurityTypes", "Plain")), "")
	id := pair.running(nil).ID
	p := page{t, browser(t)}
	p.logIn(pair.installation)
	p.open(pair.installation, "/desktop/"+id+"?mode=view")
	p.badge("ended")
	p.says("reason", "a view-only connection can't be guaranteed")
	p.click("control")
	p.do("the desktop asks who it is", chromedp.WaitVisible(chromedp.CSS("dialog[open]")))
}

// folderOf is a folder in which a desktop can leave traces: the path of a file
// there, and the check that it exists.
func folderOf(t *testing.T) (file func(name string) string, exists func(name string) func() error) {
	folder := t.TempDir()
	file = func(name string) string { return filepath.Join(folder, name) }
	exists = func(name string) func() error {
		return func() error {
			_, err := os.Stat(file(name))
			return err
		}
	}
	return file, exists
}
