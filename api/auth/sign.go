package auth

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuer   = "streamspace"
	maxToken = 4096 // bytes; ours have a tenth of that
)

var errTokenTooLong = errors.New("the token is too long")

// signer makes and reads JWTs of one kind. Each kind has its own secret and
// audience, so that none passes for another.
type signer struct {
	secret   []byte
	audience string
	now      func() time.Time
}

func (s *signer) audiences() jwt.ClaimStrings { return jwt.ClaimStrings{s.audience} }

func (s *signer) sign(claims jwt.Claims) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(s.secret)
}

// parse fills claims from a token that is ours and has not expired.
func (s *signer) parse(token string, claims jwt.Claims) error {
	if len(token) > maxToken {
		return errTokenTooLong
	}
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return s.secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer), jwt.WithAudience(s.audience), jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(s.now))
	return err
}
