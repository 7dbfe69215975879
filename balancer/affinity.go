package balancer

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"
)

// AffinityConfig is how a pool's clients are kept on their upstreams.
type AffinityConfig struct {
	Cookie string        // its name, a token of RFC 6265
	TTL    time.Duration // of a cookie, from 1 s to 24 h; fractions of a second don't count
	Path   string        // which requests carry it; "/": all
}

// Limits of what browsers keep: a longer attribute is ignored, and name and
// value have 4096 bytes together (RFC 6265bis, 5.6 and 5.7).
const (
	maxCookieName = 256
	maxCookiePath = 1024
)

// Validate tells everything that is wrong.
func (c AffinityConfig) Validate() []Fault {
	var faults []Fault
	add := func(key, format string, args ...any) {
		faults = append(faults, Fault{key, fmt.Sprintf(format, args...)})
	}
	switch {
	case c.Cookie == "":
		add("cookie", "is empty; name the cookie, like SSAFFINITY")
	case len(c.Cookie) > maxCookieName:
		add("cookie", "is %d bytes long; use at most %d", len(c.Cookie), maxCookieName)
	case strings.ContainsFunc(c.Cookie, notOfToken):
		add("cookie", "%q can't be the name of a cookie; use letters, digits, - and _", c.Cookie)
	}
	if c.hostOnly() && c.Path != "/" {
		add("path", "browsers take a cookie with the name %q for the path \"/\" only, not for %q; change one of them", c.Cookie, c.Path)
	}
	if c.TTL < time.Second || c.TTL > epochLength {
		add("ttl", "%s is out of range; use 1s to %s", c.TTL, "24h")
	}
	switch {
	case !strings.HasPrefix(c.Path, "/"):
		add("path", "%q does not begin with a slash; use / for all requests", c.Path)
	case len(c.Path) > maxCookiePath:
		add("path", "is %d bytes long; browsers ignore more than %d", len(c.Path), maxCookiePath)
	case strings.ContainsFunc(c.Path, notOfPath):
		add("path", "%q has a character that a cookie's path can't have; write it as in a URL, percent-encoded", c.Path)
	}
	return faults
}

// hostOnly tells whether the name's prefix makes browsers take the cookie for the
// path "/" only (RFC 6265bis, 4.1.3; case does not count).
func (c AffinityConfig) hostOnly() bool { return hasPrefixFold(c.Cookie, "__Host-") }

// SecureOnly tells whether the name's prefix makes browsers take the cookie over
// TLS only.
func (c AffinityConfig) SecureOnly() bool {
	return c.hostOnly() || hasPrefixFold(c.Cookie, "__Secure-")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// notOfToken tells what a token can't have (RFC 9110, 5.6.2).
func notOfToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func notOfPath(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' }

// Mark stands for an upstream in cookies. It is keyed, so that a cookie tells
// nobody an address, and is the same on all edges for as long as the secret is.
type Mark uint64

// A cookie's value is the base64url of
//
//	version 1 | epoch 4 | expires 4 | mark 8 | MAC 16    (bytes, big-endian)
//
// epoch counts periods of epochLength since 1970 and tells the key, expires is
// in Unix seconds (until 2106), and the MAC is HMAC-SHA256 of what is before it,
// cut to its first half. 33 bytes have just one encoding.
const (
	valueVersion = 1
	macSize      = sha256.Size / 2
	rawSize      = 1 + 4 + 4 + 8 + macSize
	valueSize    = rawSize / 3 * 4

	epochLength = 24 * time.Hour
	// clockSkew is how far ahead the clock of the edge that issued a cookie may be;
	// it matters at an epoch's beginning only.
	clockSkew = time.Minute
	// maxValues bounds what a request full of cookies costs: one MAC each.
	maxValues = 8
)

// Affinity issues and reads the cookies of one pool. Edges with the same
// secret understand each other's. A cookie names an upstream and grants nothing.
// Safe for concurrent use.
type Affinity struct {
	config AffinityConfig
	pool   string
	root   []byte // what all keys of the pool come from

	mu   sync.Mutex
	ring [3]epochKey // by epoch modulo 3: the previous, the present and, by clockSkew, the next
	raw  [rawSize]byte
	sum  [sha256.Size]byte

	// good are values whose MAC was found right, by its last byte: a client sends
	// the same one with each request, and the MAC is most of what reading it costs.
	good [256][rawSize]byte
}

type epochKey struct {
	epoch uint32
	mac   hash.Hash // nil: not derived yet
}

// NewAffinity makes the Affinity of a pool from a config that Validate finds
// nothing wrong with. secret is at least 16 random bytes that all edges share;
// with less it panics.
func NewAffinity(c AffinityConfig, pool string, secret []byte) *Affinity {
	if len(secret) < 16 {
		panic(fmt.Sprintf("balancer: an affinity secret of %d bytes; 16 are needed", len(secret)))
	}
	return &Affinity{config: c, pool: pool, root: affinityRoot(secret)}
}

func affinityRoot(secret []byte) []byte {
	root, err := hkdf.Extract(sha256.New, secret, nil)
	if err != nil {
		panic(fmt.Sprintf("balancer: affinity secret: %v", err))
	}
	return root
}

// affinityKey derives a pool's key for a purpose, which has no line break in it.
func affinityKey(root []byte, pool, purpose string) hash.Hash {
	key, err := hkdf.Expand(sha256.New, root, "streamspace affinity\n"+purpose+"\n"+pool, sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("balancer: affinity key: %v", err))
	}
	return hmac.New(sha256.New, key)
}

// markOf is the mark of a pool's upstream with that id. It derives a key each
// time: ask once for an upstream.
func markOf(root []byte, pool, id string) Mark {
	mac := affinityKey(root, pool, "mark")
	mac.Write([]byte(id))
	return Mark(binary.BigEndian.Uint64(mac.Sum(nil)))
}

// Mark is the mark of the upstream with that id, as markOf tells.
func (a *Affinity) Mark(id string) Mark { return markOf(a.root, a.pool, id) }

// Read looks through the values of a request's cookies of that name and
// returns what the first good one says. What is forged, of another pool, expired,
// or no value at all is passed over; so is everything after the eighth.
func (a *Affinity) Read(values [][]byte, now time.Time) (m Mark, expires time.Time, ok bool) {
	for _, value := range values[:min(len(values), maxValues)] {
		if m, expires, ok = a.read(value, now); ok {
			return m, expires, true
		}
	}
	return 0, time.Time{}, false
}

// ReadCookies is Read of what a request's Cookie headers have of that name.
func (a *Affinity) ReadCookies(headers [][]byte, now time.Time) (m Mark, expires time.Time, ok bool) {
	var room [maxValues][]byte
	return a.Read(cookieValues(room[:0], headers, a.config.Cookie), now)
}

func (a *Affinity) read(value []byte, now time.Time) (Mark, time.Time, bool) {
	if len(value) != valueSize {
		return 0, time.Time{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// Decode passes over line breaks, so that less may come out.
	if n, err := base64.RawURLEncoding.Decode(a.raw[:], value); err != nil || n != rawSize || a.raw[0] != valueVersion {
		return 0, time.Time{}, false
	}
	epoch := binary.BigEndian.Uint32(a.raw[1:])
	expires := time.Unix(int64(binary.BigEndian.Uint32(a.raw[5:])), 0)
	if epoch < epochOf(now.Add(-epochLength)) || epoch > epochOf(now.Add(clockSkew)) || !now.Before(expires) {
		return 0, time.Time{}, false
	}
	good := &a.good[a.raw[rawSize-1]]
	if !hmac.Equal(good[:], a.raw[:]) && !hmac.Equal(a.sign(epoch), a.raw[rawSize-macSize:]) {
		return 0, time.Time{}, false
	}
	*good = a.raw
	return Mark(binary.BigEndian.Uint64(a.raw[9:])), expires, true
}

// Value is the value of a cookie for m that is issued now.
func (a *Affinity) Value(m Mark, now time.Time) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	epoch := epochOf(now)
	a.raw[0] = valueVersion
	binary.BigEndian.PutUint32(a.raw[1:], epoch)
	binary.BigEndian.PutUint32(a.raw[5:], uint32(now.Unix()+a.maxAge()))
	binary.BigEndian.PutUint64(a.raw[9:], uint64(m))
	copy(a.raw[rawSize-macSize:], a.sign(epoch))
	return base64.RawURLEncoding.AppendEncode(make([]byte, 0, valueSize), a.raw[:])
}

// SetCookie is the Set-Cookie header for m, issued now. secure: the client came
// by TLS, and the cookie must not travel without.
func (a *Affinity) SetCookie(m Mark, secure bool, now time.Time) string {
	cookie := fmt.Sprintf("%s=%s; Path=%s; Max-Age=%d; HttpOnly; SameSite=Lax",
		a.config.Cookie, a.Value(m, now), a.config.Path, a.maxAge())
	if secure {
		cookie += "; Secure"
	}
	return cookie
}

func (a *Affinity) maxAge() int64 { return int64(a.config.TTL / time.Second) }

// sign is the MAC of a.raw under the key of an epoch, good until the next call.
// The caller holds a.mu.
func (a *Affinity) sign(epoch uint32) []byte {
	slot := &a.ring[epoch%uint32(len(a.ring))]
	if slot.mac == nil || slot.epoch != epoch {
		*slot = epochKey{epoch, affinityKey(a.root, a.pool, fmt.Sprintf("epoch %d", epoch))}
	}
	slot.mac.Reset()
	slot.mac.Write(a.raw[:rawSize-macSize])
	return slot.mac.Sum(a.sum[:0])[:macSize]
}

func epochOf(t time.Time) uint32 { return uint32(t.Unix() / int64(epochLength/time.Second)) }
