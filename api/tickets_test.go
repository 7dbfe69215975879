package api

import (
	"fmt"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
)

// TestTicketsTellWhatTheyAreGoodFor: a page learns before it connects whether it
// may paste, and that there is no room for it.
func TestTicketsTellWhatTheyAreGoodFor(t *testing.T) {
	full := NotNow{Code: "session_limit_reached", Detail: "There are 3 viewers.", RetryAfter: 5}
	for _, c := range []struct {
		mode      string
		blocked   bool
		notNow    *NotNow
		clipboard bool
	}{
		{auth.ModeControl, false, nil, true},
		{auth.ModeControl, true, nil, false},
		{auth.ModeView, false, &full, false},
		{auth.ModeView, true, nil, false},
	} {
		var asked auth.Ticket
		w := newWorld(t, func(o *Options) {
			o.BlockClipboardIn = c.blocked
			o.NotNow = func(t auth.Ticket) *NotNow {
				asked = t
				return c.notNow
			}
		})
		var got ticketAnswer
		w.want(200, w.call(alice, "POST", "/api/v1/sessions/"+w.addSession()+"/vnc", fmt.Sprintf(`{"mode":%q}`, c.mode))).json(&got)
		if got.ClipboardIn != c.clipboard || (got.NotNow == nil) != (c.notNow == nil) || got.NotNow != nil && *got.NotNow != *c.notNow {
			t.Errorf("%+v: clipboard_in %t, not_now %+v", c, got.ClipboardIn, got.NotNow)
		}
		if asked.ID != got.ID || asked.Mode != c.mode || asked.Owner != "alice" {
			t.Errorf("%+v: asked about the ticket %+v", c, asked)
		}
	}
}
