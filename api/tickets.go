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
	URL       string    `json:"url"`
	ViewerURL string    `json:"viewer_url"`
	Mode      string    `json:"mode"`
	ExpiresAt time.Time `json:"expires_at"`
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
	token, expires, err := s.o.Auth.IssueTicket(c, stored, mode, s.o.TicketTTL)
	if err != nil {
		return err
	}
	public := s.o.PublicURL(r)
	return s.writeJSON(w, http.StatusOK, ticketAnswer{
		Token:     token,
		URL:       "ws" + strings.TrimPrefix(public, "http") + "/ws/vnc?token=" + url.QueryEscape(token),
		ViewerURL: public + "/desktop/" + stored.ID,
		Mode:      mode,
		ExpiresAt: expires,
	})
}
