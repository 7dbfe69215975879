package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

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

	pair.agent.stop()
	p.says("hint", "No agent is connected")
	pair.startAgent()
	p.do("the hint is gone", chromedp.WaitNotPresent(testID("hint")))
}
