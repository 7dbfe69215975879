package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// What a ticket lets its bearer do at the session.
const (
	ModeControl = "control"
	ModeView    = "view"
)

// DefaultTicketTTL is how long a ticket lives when nothing else is asked for.
const DefaultTicketTTL = time.Hour

// What CheckTicket returns. Both have the code Unauthorized.
var (
	ErrBadTicket     error = store.Errorf(store.Unauthorized, "the ticket is not valid; ask for a new one")
	ErrExpiredTicket error = store.Errorf(store.Unauthorized, "the ticket has expired; ask for a new one")
)

// Ticket lets one client open one stream. It gives no access to the API.
type Ticket struct {
	ID      string // UUIDv7, for logs and for using it once
	Session string
	Org     string // Org and Owner are the session's
	Owner   string
	KeyID   string    // the key of who asked for it
	Viewer  string    // the owner of that key
	Mode    string    // ModeControl or ModeView
	Expires time.Time // by the store's clock
	Ledger  string    // where its use is noted: that of store.TicketLedger
}

type ticketClaims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
	Org     string `json:"org"`
	Owner   string `json:"owner"`
	Viewer  string `json:"viewer"`
	Mode    string `json:"mode"`
	Ledger  string `json:"ledger"`
}

// IssueTicket makes a ticket for a session that the caller was allowed to see,
// and signs it. ttl 0 means DefaultTicketTTL; Expires is in whole seconds.
func (a *Auth) IssueTicket(c Caller, s *store.Session, mode string, ttl time.Duration) (token string, t Ticket, err error) {
	if ttl <= 0 {
		ttl = DefaultTicketTTL
	}
	now := a.now()
	t = Ticket{
		ID: uuid.Must(uuid.NewV7()).String(), Session: s.ID, Org: s.Org, Owner: s.Owner, KeyID: c.KeyID, Viewer: c.Owner,
		Mode: mode, Expires: now.Add(ttl).Truncate(time.Second).UTC(), Ledger: a.store.TicketLedger(),
	}
	token, err = a.tickets.sign(&ticketClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        t.ID,
			Subject:   t.KeyID,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(t.Expires),
			Audience:  a.tickets.audiences(),
			Issuer:    issuer,
		},
		Session: t.Session, Org: t.Org, Owner: t.Owner, Viewer: t.Viewer, Mode: t.Mode, Ledger: t.Ledger,
	})
	return token, t, err
}

// CheckTicket reads a ticket: ErrBadTicket, ErrExpiredTicket, or what it says. One
// whose use was noted in a ledger that is no more has expired with it.
func (a *Auth) CheckTicket(token string) (Ticket, error) {
	var c ticketClaims
	err := a.tickets.parse(token, &c)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidAudience) && !errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return Ticket{}, ErrExpiredTicket
	case err != nil || c.ID == "" || c.Session == "" || (c.Mode != ModeControl && c.Mode != ModeView):
		return Ticket{}, ErrBadTicket
	case c.Ledger != a.store.TicketLedger():
		return Ticket{}, ErrExpiredTicket
	}
	return Ticket{
		ID: c.ID, Session: c.Session, Org: c.Org, Owner: c.Owner, KeyID: c.Subject, Viewer: c.Viewer,
		Mode: c.Mode, Expires: c.ExpiresAt.Time, Ledger: c.Ledger,
	}, nil
}
