package hop

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

const (
	// tokenLife is how long a token is good: a connection is made meanwhile.
	tokenLife = 10 * time.Second
	// clockSkew is how far the clock of the edge that made a token may be ahead.
	// One that is behind by more than tokenLife makes no good ones.
	clockSkew = 10 * time.Second

	maxToken = 2048 // bytes; an id of a session or a stream has at most 128
)

// token is the right to open one stream at one agent of one edge, once.
type token struct {
	From    string             `json:"from"` // the edges' ids
	To      string             `json:"to"`
	Agent   string             `json:"agent"`
	Open    tunnel.OpenRequest `json:"open"`    // session and stream
	Expires int64              `json:"expires"` // milliseconds since 1970
	ID      [16]byte           `json:"id"`      // random
}

func newToken(from, to, agent string, o tunnel.OpenRequest, now time.Time) token {
	t := token{From: from, To: to, Agent: agent, Open: o, Expires: now.Add(tokenLife).UnixMilli()}
	_, _ = rand.Read(t.ID[:]) // never fails: it crashes the program rather
	return t
}

func (h *Hop) sum(payload string) []byte {
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(payload))
	return mac.Sum(nil)
}

// sign writes a token as base64url of its JSON, a dot, and that of the
// HMAC-SHA256 of what is before the dot.
func (h *Hop) sign(t token) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	payload := base64.RawURLEncoding.EncodeToString(text)
	return payload + "." + base64.RawURLEncoding.EncodeToString(h.sum(payload)), nil
}

// verify wants a token for this edge that is good at now. Whether it was used is
// not looked at. The error is for the edge that sent it.
func (h *Hop) verify(text string, now time.Time) (t token, refused *tunnel.Error) {
	bad := tunnel.Errorf(tunnel.CodeUnauthorized, "the hop's token is not of this cluster; edges of one cluster need the same secret")
	payload, signature, found := strings.Cut(text, ".")
	if !found || len(text) > maxToken {
		return t, bad
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil || !hmac.Equal(sum, h.sum(payload)) {
		return t, bad
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(decoded, &t) != nil {
		return token{}, tunnel.Errorf(tunnel.CodeBadRequest, "the hop's token can't be read; run the same version of streamspace on all edges")
	}
	const century = 100 * 365 * 24 * time.Hour // sums of longer durations don't fit
	ahead := min(max(time.UnixMilli(t.Expires).Sub(now), -century), century) - tokenLife
	switch {
	case t.To != h.o.Node || t.From == h.o.Node:
		return token{}, tunnel.Errorf(tunnel.CodeUnauthorized, "the hop's token is from edge %q for edge %q, this is %q; an edge's address leads to another", t.From, t.To, h.o.Node)
	case ahead <= -tokenLife:
		return token{}, tunnel.Errorf(tunnel.CodeUnauthorized, "by its token the clock of edge %q is %s behind that of edge %q, and less than %s is right; set both by NTP", t.From, (-ahead).Round(time.Millisecond), t.To, tokenLife)
	case ahead > clockSkew:
		return token{}, tunnel.Errorf(tunnel.CodeUnauthorized, "by its token the clock of edge %q is %s ahead of that of edge %q, and at most %s is right; set both by NTP", t.From, ahead.Round(time.Millisecond), t.To, clockSkew)
	}
	return t, nil
}

// used remembers which tokens were used, for as long as they could be good, by
// durations of this edge's own.
type used struct {
	mu      sync.Mutex
	now     map[[16]byte]struct{}
	before  map[[16]byte]struct{}
	rotated time.Time
}

const (
	// usedFor is more than any token is good here.
	usedFor = 2 * (tokenLife + clockSkew)
	// maxUsed bounds each half: 1,600 new streams a second from other edges.
	maxUsed = 65_536
)

func newUsed() *used { return &used{now: map[[16]byte]struct{}{}, rotated: time.Now()} }

// first tells whether id was not used before. full: nothing more can be
// remembered, and nothing was.
func (u *used) first(id [16]byte) (first, full bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch passed := time.Since(u.rotated); {
	case passed >= 2*usedFor:
		u.before, u.now, u.rotated = nil, map[[16]byte]struct{}{}, time.Now()
	case passed >= usedFor:
		u.before, u.now, u.rotated = u.now, map[[16]byte]struct{}{}, time.Now()
	}
	if _, ok := u.now[id]; ok {
		return false, false
	}
	if _, ok := u.before[id]; ok {
		return false, false
	}
	if len(u.now) >= maxUsed {
		return false, true
	}
	u.now[id] = struct{}{}
	return true, false
}
