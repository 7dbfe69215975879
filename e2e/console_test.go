package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestConsoleAsksForACertainMachine: who is offered VNC servers that exist
// already can choose among them.
func TestConsoleAsksForACertainMachine(t *testing.T) {
	one, two := startRandomServer(t, 1<<10), startRandomServer(t, 1<<10)
	in := startEdgeAndAgent(t, fmt.Sprintf("  - {name: consoles, type: static, endpoints: [{name: vm-1, address: %q}, {name: vm-2, address: %q}]}",
		one.Addr(), two.Addr()), "").installation
	p := page{t, browser(t)}
	p.logIn(in)
	p.seesNo("new-machine")
	p.click("new-options")
	p.sees("new-machine")
	if offered := p.eval(`[...document.querySelector('[data-testid="new-machine"]').list.options].map(({ value }) => value).join()`); offered != "vm-1,vm-2" {
		t.Errorf("offered are %q", offered)
	}
	p.do("asking for one that there is not", chromedp.SendKeys(testID("new-machine"), "vm-9"+kb.Enter))
	p.says("notices", `without endpoint "vm-9"`)
	p.do("asking for one", chromedp.SendKeys(testID("new-machine"), kb.Backspace+"2"+kb.Enter))
	p.sees("badge")
	if told := p.text("notices"); told != "" {
		t.Errorf("the desktop's page tells what the page before had to tell: %q", told)
	}
	id := p.desktopID()
	in.becomes(id, "running")
	var got struct{ Name string }
	in.call("GET", "/api/v1/sessions/"+id, nil, http.StatusOK, &got)
	if got.Name != "vm-2" {
		t.Errorf("the session got %q", got.Name)
	}
}
