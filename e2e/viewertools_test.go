package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestViewerToolsReachTheDesktop: what each tool of the viewer does is seen from
// inside the desktop, by its terminal, or in how large it is drawn.
func TestViewerToolsReachTheDesktop(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "process")
	file, exists := folderOf(t)
	id := in.running(map[string]any{"width": 800, "height": 600}).ID
	p := page{t, browser(t)}
	p.logIn(in)
	p.open(in, "/desktop/"+id)
	p.badge("live")
	p.pictureChanges("")
	p.typeCommand("touch "+file("focused"), exists("focused"))
	types := func(text string) {
		t.Helper()
		p.do("typing "+text, chromedp.KeyEvent(text))
	}
	clicks := func(button chromedp.MouseOption) {
		t.Helper()
		p.do("clicking on the terminal", chromedp.MouseClickXY(640, 400, button))
	}

	// What is sent to the desktop is pasted there, by the middle button.
	p.click("clipboard")
	p.do("writing", chromedp.SendKeys(testID("clipboard-text"), "touch "+file("pasted")))
	p.click("clipboard-send")
	p.do("closing the clipboard", chromedp.KeyEvent(kb.Escape))
	clicks(chromedp.ButtonMiddle)
	eventually(t, "the text that was sent is pasted", func() error {
		types(kb.Enter) // a terminal asks for what it pastes, so an Enter may overtake it
		return exists("pasted")()
	})

	// What is selected in the desktop comes.
	types("clear; yes selected-there | head -n 99; touch " + file("shown") + kb.Enter)
	eventually(t, "there is text to select", exists("shown"))
	eventually(t, "what was selected comes to the clipboard", func() error {
		p.do("dragging over some lines",
			chromedp.MouseEvent(chromedp.MousePressed, 640, 300, chromedp.ButtonLeft, chromedp.ClickCount(1)),
			chromedp.MouseEvent(chromedp.MouseMoved, 640, 400, chromedp.ButtonLeft),
			chromedp.MouseEvent(chromedp.MouseReleased, 640, 400, chromedp.ButtonLeft, chromedp.ClickCount(1)))
		if text := p.eval(`document.querySelector('[data-testid="clipboard-text"]').value`); !strings.Contains(text, "\nselected-there\n") {
			return fmt.Errorf("it holds %q", text)
		}
		return nil
	})

	// Ctrl+Alt+Del goes down as one chord and is let go of: xterm tells Delete with
	// its modifiers, and plain letters after it are plain.
	types("stty -icanon -echo; touch " + file("reading") + "; head -c 6 > " + file("chord") + "; stty sane" + kb.Enter)
	eventually(t, "the terminal reads keys", exists("reading"))
	p.click("ctrl-alt-del")
	eventually(t, "the desktop has got Ctrl+Alt+Del", func() error {
		keys, err := os.ReadFile(file("chord"))
		if err == nil && string(keys) != "\x1b[3;7~" {
			err = fmt.Errorf("the terminal has read %q", keys)
		}
		return err
	})
	types("touch " + file("released") + kb.Enter)
	eventually(t, "no key of it is held", exists("released"))

	// While it only looks, no key goes.
	types("touch " + file("plain"))
	p.click("view-only")
	clicks(chromedp.ButtonLeft)
	types("-and-more")
	p.click("view-only")
	clicks(chromedp.ButtonLeft)
	types(kb.Enter)
	eventually(t, "only what was typed before and after is there", exists("plain"))

	// Fit, 1:1 and Resize follow each other in the list.
	own := size{800, 600}
	p.scaled("fit", func(s sizes) bool {
		return s.Desktop == own && s.Drawn.fits(s.Stage) && s.Drawn.touches(s.Stage) && s.Drawn.isLike(own)
	})
	p.do("choosing 1:1", chromedp.Focus(testID("scaling")), chromedp.KeyEvent(kb.ArrowDown))
	p.scaled("original", func(s sizes) bool { return s.Desktop == own && s.Drawn == own })
	p.do("choosing Resize", chromedp.KeyEvent(kb.ArrowDown))
	stage := p.scaled("resize", func(s sizes) bool { return s.Desktop == s.Stage && s.Drawn == s.Stage }).Stage
	width, height, err := rfbHello(in.mustView(testContext(t), id))
	if resized := (size{float64(width), float64(height)}); err != nil || resized != stage {
		t.Errorf("another viewer is shown a desktop of %v, not %v (%v)", resized, stage, err)
	}
}

// size is a width and a height in pixels.
type size [2]float64

func (s size) fits(in size) bool { return s[0] < in[0]+1 && s[1] < in[1]+1 }

func (s size) touches(in size) bool { return math.Abs(s[0]-in[0]) < 1 || math.Abs(s[1]-in[1]) < 1 }

func (s size) isLike(other size) bool { return math.Abs(s[0]/s[1]-other[0]/other[1]) < 0.01 }

// sizes are those of a desktop, of its picture in the page, and of the room that
// the picture has.
type sizes struct{ Desktop, Drawn, Stage size }

// scaled waits until that scaling is chosen and the sizes are right for it.
func (p page) scaled(scaling string, right func(sizes) bool) (now sizes) {
	p.t.Helper()
	eventually(p.t, "the sizes for "+scaling, func() error {
		if chosen := p.eval(`document.querySelector('[data-testid="scaling"]').value`); chosen != scaling {
			return fmt.Errorf("the scaling is %s", chosen)
		}
		answer := p.eval(`(() => {
			const canvas = document.querySelector('canvas'), drawn = canvas.getBoundingClientRect();
			const stage = document.querySelector('[data-testid="screen"]').getBoundingClientRect();
			return JSON.stringify({ Desktop: [canvas.width, canvas.height], Drawn: [drawn.width, drawn.height], Stage: [stage.width, stage.height] });
		})()`)
		if err := json.Unmarshal([]byte(answer), &now); err != nil {
			return err
		}
		if !right(now) {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
	return now
}

// TestViewerToolsOfAPhone: where it is narrow the tools are in a menu, an
// on-screen keyboard types into the desktop, and full screen gives it the keys.
func TestViewerToolsOfAPhone(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "process")
	file, exists := folderOf(t)
	id := in.running(nil).ID
	p := page{t, browser(t)}
	p.logIn(in)
	p.open(in, "/desktop/"+id)
	p.badge("live")
	p.pictureChanges("")
	p.typeCommand("touch "+file("focused"), exists("focused"))

	p.do("a click brings full screen", chromedp.Click(testID("fullscreen")))
	eventually(t, "the desktop fills the screen and has the keys", func() error {
		if at := p.eval(`[document.fullscreenElement?.className, document.activeElement.tagName].join()`); at != "viewer,CANVAS" {
			return fmt.Errorf("it is at %s", at)
		}
		return nil
	})
	p.do("typing", chromedp.KeyEvent("touch "+file("full")+kb.Enter))
	eventually(t, "it has reached the desktop", exists("full"))
	p.eval("document.exitFullscreen(), ''")

	p.do("a phone", chromedp.EmulateViewport(390, 844))
	for _, name := range []string{"scaling", "ctrl-alt-del", "help"} {
		p.seesNo(name)
	}
	for _, width := range []int64{390, 360} {
		p.do("a phone", chromedp.EmulateViewport(width, 844))
		p.barIsOneRow()
	}
	p.click("more")
	for _, name := range []string{"scaling", "ctrl-alt-del", "help", "clipboard"} {
		p.sees(name)
	}
	p.click("clipboard")
	p.sees("clipboard-text")
	p.seesNo("scaling")
	p.do("closing it", chromedp.KeyEvent(kb.Escape))
	p.seesNo("clipboard-text")
	p.click("keyboard")
	if at := p.eval(`document.activeElement.dataset.testid`); at != "touch-keyboard" {
		t.Fatalf("the keyboard's button gives the focus to %s", at)
	}
	p.do("typing", chromedp.KeyEvent("touch "+file("touchedx")+kb.Backspace+kb.Enter))
	eventually(t, "it has reached the desktop", exists("touched"))
	p.click("keyboard")
	if at := p.eval(`document.activeElement.tagName`); at != "BODY" {
		t.Errorf("with the keyboard put away, the focus is at %s", at)
	}
}

// barIsOneRow checks that the toolbar is a row of icons beside each other, with
// room for the desktop's name.
func (p page) barIsOneRow() {
	p.t.Helper()
	if faults := p.eval(`(() => {
		const bar = document.querySelector('.toolbar'), faults = [];
		const shown = [...bar.querySelectorAll(':scope > :is(a, button, h1, .marks)')].filter(one => one.getClientRects().length);
		const at = one => one.getBoundingClientRect();
		if (at(bar).height > 50) faults.push('it is ' + at(bar).height + ' px high');
		if (at(bar.querySelector('h1')).width < 60) faults.push('the name has ' + at(bar.querySelector('h1')).width + ' px');
		shown.forEach((one, i) => {
			const words = one.matches('button') && one.innerText.trim();
			if (words) faults.push('it shows ' + words);
			if (i && at(one).left < at(shown[i - 1]).right) faults.push(one.className + ' touches ' + shown[i - 1].className);
			if (at(one).right > innerWidth) faults.push(one.className + ' is cut off');
		});
		return faults.join('; ');
	})()`); faults != "" {
		p.t.Errorf("the toolbar %s px wide: %s", p.eval("String(innerWidth)"), faults)
	}
}

// TestConsoleOfAFailedDesktop: its page and that of none have no tools to
// control it, and the list lets go of it.
func TestConsoleOfAFailedDesktop(t *testing.T) {
	pair := startEdgeAndAgent(t, processRuntime, "")
	in := pair.installation
	id := in.running(nil).ID
	p := page{t, browser(t)}
	p.logIn(in)
	p.open(in, "/desktop/"+id)
	p.badge("live")
	p.sees("stop")
	if err := killProcess(xvnc(t, id)); err != nil {
		t.Fatal(err)
	}
	in.becomes(id, "failed")
	for _, path := range []string{"/desktop/" + id, "/desktop/01900000-0000-7000-8000-000000000000"} {
		p.badge("ended")
		for _, name := range []string{"stop", "clipboard", "ctrl-alt-del", "keyboard", "fullscreen"} {
			p.seesNo(name)
		}
		p.sees("start-new")
		p.open(in, path)
	}
	p.badge("ended")
	p.says("badge", "Not found")

	p.click("back")
	p.says("desktop-state", "failed")
	p.click("dismiss")
	p.sees("empty")
	p.do("showing what has ended", chromedp.Click(testID("show-ended")))
	p.says("desktop-state", "failed")
	p.seesNo("dismiss")
}

// TestConsoleHints: what stands in the way of desktops, or of real ones, is told
// with what to do about it until it is mended.
func TestConsoleHints(t *testing.T) {
	pair := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	p := page{t, browser(t)}
	p.logIn(pair.installation)
	hinted := func(code string, words ...string) {
		t.Helper()
		p.do("there is a hint "+code, chromedp.WaitVisible(testID("hint")+chromedp.CSS(fmt.Sprintf(`[data-code=%q]`, code))))
		for _, part := range words {
			p.says("hint", part)
		}
	}
	hinted("demo_only", "built-in demo", "apt install tigervnc-standalone-server openbox xterm")
	pair.agent.stop()
	hinted("no_agent", "No agent is connected", "streamspace agent --edge URL --token-file join.token")
	pair.offer("  - {name: office, type: process, desktop: [no-such-program]}")
	hinted("runtime_missing", "The agent desk-1", "its runtime office", "no-such-program is not installed")
	pair.offer(processRuntime)
	p.do("the hint is gone", chromedp.WaitNotPresent(testID("hint")))
}
