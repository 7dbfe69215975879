package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// ticketAnswer holds a credential: it is never logged or cached.
type ticketAnswer struct {
	Token     string    `json:"token"`
	ID        string    `json:"id"` // no secret; the stream that it opens has it as Stream.Ticket
	URL       string    `json:"url"`
	ViewerURL string    `json:"viewer_url"`
	Mode      string    `json:"mode"`
	ExpiresAt time.Time `json:"expires_at"`

	ClipboardIn bool    `json:"clipboard_in"` // whether what this viewer pastes reaches the desktop
	NotNow      *NotNow `json:"not_now"`
}

// NotNow is why a stream would be refused at this moment. The ticket is good
// all the same, and opens one once there is room. Browsers can't tell it to
// pages otherwise: they hide the answer to a refused WebSocket handshake.
type NotNow struct {
	Code       string `json:"code"`        // a stable word, as that of the refusal
	Detail     string `json:"detail"`      // for the person at the viewer
	RetryAfter int    `json:"retry_after"` // seconds
}

func (s *server) controlTicket(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	return s.giveTicket(w, r, c, auth.ModeControl)
}

func (s *server) ticket(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	mode := auth.ModeControl
	if err := decodeBody(r, fields{"mode": &mode}); err != nil {
		return err
	}
	if mode != auth.ModeControl && mode != auth.ModeView {
		return store.Errorf(store.Invalid, "mode %q is neither %q nor %q", clip(mode), auth.ModeControl, auth.ModeView)
	}
	return s.giveTicket(w, r, c, mode)
}

func (s *server) giveTicket(w http.ResponseWriter, r *http.Request, c auth.Caller, mode string) error {
	verb := auth.ControlSession
	if mode == auth.ModeView {
		verb = auth.ViewSession
	}
	stored, err := s.ownSession(r, c, verb)
	if err != nil {
		return err
	}
	if stored.Ended() {
		why := ""
		if stored.Reason != "" {
			why = ": " + stored.Reason
		}
		return store.Errorf(store.Conflict, "the session is %s%s", stored.State, why)
	}
	token, ticket, err := s.o.Auth.IssueTicket(c, stored, mode, s.o.TicketTTL)
	if err != nil {
		return err
	}
	public := s.o.PublicURL(r)
	answer := ticketAnswer{
		Token:       token,
		ID:          ticket.ID,
		URL:         "ws" + strings.TrimPrefix(public, "http") + "/ws/vnc?token=" + url.QueryEscape(token),
		ViewerURL:   public + "/desktop/" + stored.ID,
		Mode:        mode,
		ExpiresAt:   ticket.Expires,
		ClipboardIn: mode == auth.ModeControl && !s.o.BlockClipboardIn,
	}
	if mode == auth.ModeView {
		answer.ViewerURL += "?mode=view"
	}
	if s.o.NotNow != nil {
		answer.NotNow = s.o.NotNow(ticket)
	}
	if s.o.NodeCookie != nil {
		if cookie := s.o.NodeCookie(r, stored); cookie != "" {
			w.Header().Add("Set-Cookie", cookie)
		}
	}
	return s.writeJSON(w, http.StatusOK, answer)
}
