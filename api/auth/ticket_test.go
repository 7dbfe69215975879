package auth

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestTicketsSayWhatTheyWereIssuedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuth(t)
		s := &store.Session{ID: uuid.NewString(), Org: "a", Owner: "alice"}
		token, issued, err := a.IssueTicket(Caller{KeyID: "key", Owner: "bob"}, s, ModeView, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.CheckTicket(token)
		if err != nil || got.Session != s.ID || got.Org != "a" || got.Owner != "alice" || got.KeyID != "key" || got.Viewer != "bob" || got.Mode != ModeView || got.ID == "" {
			t.Errorf("%+v, %v", got, err)
		}
		if got.Expires = got.Expires.UTC(); got != issued {
			t.Errorf("issued was %+v, read is %+v", issued, got)
		}
		second, _, err := a.IssueTicket(Caller{}, s, ModeView, 0)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := a.CheckTicket(second); err != nil || other.ID == got.ID || time.Until(other.Expires) < DefaultTicketTTL-time.Second {
			t.Errorf("%+v, %v", other, err)
		}
		time.Sleep(10 * time.Second)
		if _, err := a.CheckTicket(token); !errors.Is(err, ErrExpiredTicket) || store.CodeOf(err) != store.Unauthorized {
			t.Errorf("ten seconds later: %v", err)
		}
	})
}

func (a *Auth) claims(change func(*ticketClaims)) *ticketClaims {
	c := &ticketClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: "id", Subject: "key", Issuer: issuer, Audience: jwt.ClaimStrings{"ticket"}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		},
		Session: uuid.NewString(), Org: "a", Owner: "alice", Mode: ModeControl, Ledger: a.store.TicketLedger(),
	}
	change(c)
	return c
}

func TestForgedTicketsAreRefused(t *testing.T) {
	a, _ := newAuth(t)
	signed := func(method jwt.SigningMethod, secret any, c jwt.Claims) string {
		token, err := jwt.NewWithClaims(method, c).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	as := func(change func(*ticketClaims)) string {
		return signed(jwt.SigningMethodHS256, a.tickets.secret, a.claims(change))
	}
	good := as(func(*ticketClaims) {})
	if _, err := a.CheckTicket(good); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	parts := strings.Split(good, ".")
	otherSecret := make([]byte, 32)
	_, _ = rand.Read(otherSecret)
	past := jwt.NewNumericDate(time.Now().Add(-time.Minute))
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"empty":                     {"", ErrBadTicket},
		"garbage":                   {"garbage", ErrBadTicket},
		"dots":                      {"..", ErrBadTicket},
		"an API key":                {"ssk_" + strings.Repeat("x", 43), ErrBadTicket},
		"too long":                  {good + strings.Repeat("A", maxToken), ErrBadTicket},
		"changed signature":         {parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), ErrBadTicket},
		"no signature":              {parts[0] + "." + parts[1] + ".", ErrBadTicket},
		"changed claims":            {parts[0] + "." + strings.Split(as(func(c *ticketClaims) { c.Owner = "eve" }), ".")[1] + "." + parts[2], ErrBadTicket},
		"alg none":                  {signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, a.claims(func(*ticketClaims) {})), ErrBadTicket},
		"another algorithm":         {signed(jwt.SigningMethodHS512, a.tickets.secret, a.claims(func(*ticketClaims) {})), ErrBadTicket},
		"another secret":            {signed(jwt.SigningMethodHS256, otherSecret, a.claims(func(*ticketClaims) {})), ErrBadTicket},
		"the secret of log-ins":     {signed(jwt.SigningMethodHS256, a.logins.secret, a.claims(func(*ticketClaims) {})), ErrBadTicket},
		"another audience":          {as(func(c *ticketClaims) { c.Audience = jwt.ClaimStrings{"login"} }), ErrBadTicket},
		"no audience":               {as(func(c *ticketClaims) { c.Audience = nil }), ErrBadTicket},
		"another issuer":            {as(func(c *ticketClaims) { c.Issuer = "someone" }), ErrBadTicket},
		"no expiry":                 {as(func(c *ticketClaims) { c.ExpiresAt = nil }), ErrBadTicket},
		"no id":                     {as(func(c *ticketClaims) { c.ID = "" }), ErrBadTicket},
		"no session":                {as(func(c *ticketClaims) { c.Session = "" }), ErrBadTicket},
		"another mode":              {as(func(c *ticketClaims) { c.Mode = "admin" }), ErrBadTicket},
		"another ledger":            {as(func(c *ticketClaims) { c.Ledger = "of the process before" }), ErrExpiredTicket},
		"no ledger":                 {as(func(c *ticketClaims) { c.Ledger = "" }), ErrExpiredTicket},
		"another ledger, forged":    {signed(jwt.SigningMethodHS256, otherSecret, a.claims(func(c *ticketClaims) { c.Ledger = "x" })), ErrBadTicket},
		"expired":                   {as(func(c *ticketClaims) { c.ExpiresAt = past }), ErrExpiredTicket},
		"expired, another audience": {as(func(c *ticketClaims) { c.ExpiresAt, c.Audience = past, jwt.ClaimStrings{"login"} }), ErrBadTicket},
		"expired and forged":        {signed(jwt.SigningMethodHS256, otherSecret, a.claims(func(c *ticketClaims) { c.ExpiresAt = past })), ErrBadTicket},
		"not yet":                   {as(func(c *ticketClaims) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) }), ErrBadTicket},
	} {
		if got, err := a.CheckTicket(c.token); !errors.Is(err, c.want) || got != (Ticket{}) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestForgedLoginsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, db := newAuth(t)
		secret, key := addKey(t, db, store.RoleUser)
		site := Site{}
		login := httptest.NewRequest("POST", "http://edge/api/v1/login", nil)
		login.Header.Set("Origin", "http://edge")
		answer := httptest.NewRecorder()
		if c, err := a.Login(answer, login, site, secret); err != nil || c.KeyID != key.ID {
			t.Fatalf("%+v, %v", c, err)
		}
		good := answer.Result().Cookies()[0].Value
		with := func(value string) error {
			r := httptest.NewRequest("GET", "http://edge/", nil)
			r.AddCookie(&http.Cookie{Name: site.cookieName(), Value: value})
			_, err := a.Request(r, site)
			return err
		}
		if err := with(good); err != nil {
			t.Fatal(err)
		}
		ticket, _, err := a.IssueTicket(Caller{KeyID: key.ID}, &store.Session{ID: uuid.NewString()}, ModeControl, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"empty": "", "changed": good[:len(good)-3] + "AAA", "a ticket": ticket, "a key": secret, "a key's id": key.ID,
		} {
			if err := with(value); store.CodeOf(err) != store.Unauthorized {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(loginLife - time.Second)
		if err := with(good); err != nil {
			t.Errorf("a second before its end: %v", err)
		}
		time.Sleep(time.Second)
		if err := with(good); store.CodeOf(err) != store.Unauthorized {
			t.Errorf("after its end: %v", err)
		}
	})
}
