package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// loginLife is a working day: how long a browser stays logged in.
const loginLife = 12 * time.Hour

// cookieName has the prefix by which browsers refuse a cookie that was not set
// by this very host over HTTPS (RFC 6265bis section 4.1.3.2).
func (s Site) cookieName() string {
	if s.Secure {
		return "__Host-streamspace"
	}
	return "streamspace"
}

// IsLoginCookie tells the names that nobody else's cookie may have: it would
// log people out, or be taken for a log-in.
func IsLoginCookie(name string) bool {
	return name == Site{Secure: true}.cookieName() || name == Site{}.cookieName()
}

func (s Site) cookie(value string, life time.Duration) *http.Cookie {
	maxAge := int(life / time.Second)
	if maxAge == 0 {
		maxAge = -1 // delete it
	}
	return &http.Cookie{
		Name: s.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.Secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// Login checks the key that a page of the site sends and sets the log-in
// cookie. The cookie holds the key's id, not its secret; it ends with the key.
// Errors: Unauthorized, Forbidden, Limit, Unavailable.
func (a *Auth) Login(w http.ResponseWriter, r *http.Request, site Site, secret string) (Caller, error) {
	if err := site.checkOrigin(r); err != nil {
		return Caller{}, err
	}
	c, err := a.keyFrom(r, secret)
	if err != nil {
		return Caller{}, err
	}
	if err := May(c, Self, nil); err != nil {
		return Caller{}, err
	}
	now := a.now()
	token, err := a.logins.sign(&jwt.RegisteredClaims{
		Subject:   c.KeyID,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(loginLife)),
		Audience:  a.logins.audiences(),
		Issuer:    issuer,
	})
	if err != nil {
		return Caller{}, err
	}
	http.SetCookie(w, site.cookie(token, loginLife))
	return c, nil
}

// Logout makes the browser forget the log-in. Error: Forbidden when another
// site's page asks.
func (a *Auth) Logout(w http.ResponseWriter, r *http.Request, site Site) error {
	if err := site.checkOrigin(r); err != nil {
		return err
	}
	http.SetCookie(w, site.cookie("", 0))
	return nil
}

func (a *Auth) cookieCaller(ctx context.Context, token string) (Caller, error) {
	var claims jwt.RegisteredClaims
	if err := a.logins.parse(token, &claims); err != nil || claims.Subject == "" {
		return Caller{}, store.Errorf(store.Unauthorized, "the log-in has ended; log in again")
	}
	return a.keyByID(ctx, claims.Subject)
}
