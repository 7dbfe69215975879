package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser is one Chromium with an empty profile.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // tests run as root in containers
		chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, // the edge under test is self-signed
		chromedp.WindowSize(1280, 860),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if t.Failed() {
			screenshot(t, ctx)
		}
		stop()
		stopAllocator()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return ctx
}

// screenshot keeps what the browser showed when a test failed.
func screenshot(t *testing.T, ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	file := filepath.Join(os.TempDir(), strings.ReplaceAll(t.Name(), "/", "-")+".png")
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(file, picture, 0o600)
	}
	t.Logf("what the browser showed: %s (%v)", file, err)
}

// page drives one tab.
type page struct {
	t   *testing.T
	ctx context.Context
}

func (p page) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

func (p page) eval(script string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	answer, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return answer
}

func testID(name string) chromedp.CSS { return chromedp.CSS(fmt.Sprintf(`[data-testid=%q]`, name)) }

// click waits until the element stands still: what comes above it while the page
// loads moves it away from under the pointer.
func (p page) click(name string) {
	p.t.Helper()
	p.do("looking for "+name, chromedp.WaitVisible(testID(name)))
	was, looks := "", 0
	eventually(p.t, name+" stands still", func() error {
		at := p.eval(fmt.Sprintf("JSON.stringify(document.querySelector('[data-testid=%q]')?.getBoundingClientRect() ?? '')", name))
		if at != was {
			was, looks = at, 0
		}
		if looks++; looks < 10 {
			return fmt.Errorf("it is at %s", at)
		}
		return nil
	})
	p.do("clicking "+name, chromedp.Click(testID(name)))
}

func (p page) logIn(in *installation) {
	p.t.Helper()
	p.do("logging in",
		chromedp.Navigate(in.URL),
		chromedp.WaitVisible(testID("login-key")),
		chromedp.SendKeys(testID("login-key"), in.APIKey),
		chromedp.Click(testID("login-submit")),
		chromedp.WaitVisible(testID("new-desktop")),
	)
}

// badge waits for the viewer's badge.
func (p page) badge(state string) {
	p.t.Helper()
	p.do("the badge says "+state, chromedp.WaitVisible(testID("badge")+chromedp.CSS(fmt.Sprintf(`[data-state=%q]`, state))))
}

// picture is a hash of the desktop's pixels as the page shows them, "" while
// the screen is one plain colour.
func (p page) picture() string {
	p.t.Helper()
	return p.eval(`(() => {
		const canvas = document.querySelector('canvas');
		if (!canvas || !canvas.width) return '';
		const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
		let hash = 0;
		for (const pixel of pixels) hash = (Math.imul(hash, 31) + pixel) | 0;
		return pixels.every(pixel => pixel === pixels[0]) ? '' : String(hash);
	})()`)
}

func (p page) pictureChanges(from string) (to string) {
	p.t.Helper()
	eventually(p.t, "the desktop's picture changes", func() error {
		if to = p.picture(); to == from || to == "" {
			return fmt.Errorf("it is still %q", to)
		}
		return nil
	})
	return to
}

// desktopID is the session that the page shows.
func (p page) desktopID() string {
	p.t.Helper()
	path := p.eval("location.pathname")
	id, found := strings.CutPrefix(path, "/desktop/")
	if !found {
		p.t.Fatalf("the page is at %s, not at a desktop", path)
	}
	return id
}

// TestFirstMinute is what a newcomer does: log in, get a real desktop, type a
// command into its terminal, reload, stop.
func TestFirstMinute(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "process")
	p := page{t, browser(t)}
	p.logIn(in)
	if stored := p.eval("JSON.stringify([{...localStorage}, {...sessionStorage}, location.href, document.cookie])"); strings.Contains(stored, "ssk_") {
		t.Errorf("the key is where scripts can read it: %s", stored)
	}

	began := time.Now()
	p.click("new-desktop")
	p.badge("live")
	blank := p.pictureChanges("")
	t.Logf("from the click to a picture: %s", time.Since(began).Round(time.Millisecond))
	id := p.desktopID()

	proof := filepath.Join(t.TempDir(), "typed")
	p.typeCommand("echo from-the-browser > "+proof, func() error {
		text, err := os.ReadFile(proof)
		if err == nil && string(text) != "from-the-browser\n" {
			err = fmt.Errorf("the file says %q", text)
		}
		return err
	})
	p.pictureChanges(blank)

	p.do("reloading", chromedp.Reload())
	p.badge("live")
	p.pictureChanges("")
	if again := p.desktopID(); again != id {
		t.Errorf("after the reload the desktop is %s, not %s", again, id)
	}

	server := xvnc(t, id)
	p.click("stop")
	p.click("confirm-stop")
	in.becomes(id, "terminated")
	noProcesses(t, id)
	if alive(server) {
		t.Errorf("Xtigervnc %d is alive after the stop", server)
	}
}

// typeCommand clicks on the desktop's terminal and types until done is
// content: the terminal may take a moment to come up, and a window manager does
// not give the focus to a window that opens after a click elsewhere.
func (p page) typeCommand(command string, done func() error) {
	p.t.Helper()
	eventually(p.t, "the typed command has its effect", func() error {
		p.do("focusing the terminal", chromedp.MouseClickXY(640, 400))
		p.do("typing", chromedp.KeyEvent(command+kb.Enter))
		var err error
		for range 25 {
			if err = done(); err == nil {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
		return err
	})
}

// TestViewerComesBackByItself: the edge and then the agent is killed under an
// open viewer; the page says why it waits, at every moment, and shows the same
// desktop when they are back.
func TestViewerComesBackByItself(t *testing.T) {
	pair := startEdgeAndAgent(t, processRuntime, "")
	p := page{t, browser(t)}
	p.logIn(pair.installation)
	p.click("new-desktop")
	p.badge("live")
	p.pictureChanges("")
	id := p.desktopID()

	p.recordReasons()
	pair.process.kill()
	p.badge("reconnecting")
	p.says("reason", "The server does not answer.")
	p.wantReasons("The connection was lost.", "The server does not answer.")
	pair.startEdge()
	p.badge("live")
	if again := p.desktopID(); again != id {
		t.Errorf("the desktop is %s, not %s", again, id)
	}
	typed := filepath.Join(t.TempDir(), "typed") // an old picture is no proof that it lives
	p.typeCommand("touch "+typed, func() error {
		_, err := os.Stat(typed)
		return err
	})

	pair.agent.kill()
	p.badge("reconnecting")
	p.says("reason", "the connection to it was lost")
	pair.startAgent()
	p.badge("live")
	p.wantReasons()

	// A killed VNC server is final, and said so.
	if err := killProcess(xvnc(t, id)); err != nil {
		t.Fatal(err)
	}
	p.badge("ended")
	if words := p.text("reason"); !strings.Contains(words, "killed") && !strings.Contains(words, "The desktop has ended.") {
		t.Errorf("the page says %q of a desktop whose VNC server was killed", words)
	}
}

// TestLostNetworkBringsThePictureBack: the wire between browser and edge is
// cut and mended; meanwhile the page says why there is no picture.
func TestLostNetworkBringsThePictureBack(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	wire := startWire(t, strings.TrimPrefix(in.URL, "https://"))
	in.URL = "https://" + wire.Addr().String()
	p := page{t, browser(t)}
	p.logIn(in)
	p.click("new-desktop")
	p.badge("live")
	p.recordReasons()
	wire.cut(true)
	p.badge("reconnecting")
	p.says("reason", "The server does not answer.")
	wire.cut(false)
	p.badge("live")
	p.wantReasons("The connection was lost.", "The server does not answer.")
	p.pictureChanges(p.pictureChanges(""))
}

// recordReasons begins to note each reason that the page shows while it has no
// picture, "" where there is none.
func (p page) recordReasons() {
	p.t.Helper()
	p.eval(`(() => {
		const cover = document.querySelector('.cover'), reason = document.querySelector('[data-testid="reason"]');
		const shown = window.shownReasons = [];
		new MutationObserver(() => {
			const words = reason.textContent.trim();
			if (!cover.hidden && shown.at(-1) !== words) shown.push(words);
		}).observe(cover, { attributes: true, characterData: true, childList: true, subtree: true });
		return '';
	})()`)
}

// wantReasons checks that there was a reason at every moment so far, and each of
// these.
func (p page) wantReasons(want ...string) {
	p.t.Helper()
	shown := strings.Split(p.eval(`shownReasons.join('\n')`), "\n")
	if slices.Contains(shown, "") {
		p.t.Errorf("there was a moment without a reason: %q", shown)
	}
	for _, words := range want {
		if !slices.Contains(shown, words) {
			p.t.Errorf("the page showed %q, never %q", shown, words)
		}
	}
}

// TestConsoleHeaders: pages carry the headers that keep them to themselves.
func TestConsoleHeaders(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	response, err := client().Get(in.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("GET / is answered %d", response.StatusCode)
	}
	for header, part := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if value := response.Header.Get(header); !strings.Contains(value, part) {
			t.Errorf("%s is %q; it should hold %q", header, value, part)
		}
	}
}
