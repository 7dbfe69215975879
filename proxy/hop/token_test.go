package hop

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func testHop(node string) *Hop { return New(Options{Node: node, Secret: testSecret}) }

func TestATokenIsForOneStreamOfOneAgentOfOneEdge(t *testing.T) {
	h, now := testHop("b"), time.Now()
	made := newToken("a", "b", "agent", request, now)
	signed, err := h.sign(made)
	if err != nil {
		t.Fatal(err)
	}
	got, refused := h.verify(signed, now)
	if refused != nil || got != made {
		t.Fatalf("%+v, %v", got, refused)
	}
	for name, c := range map[string]struct {
		token token
		now   time.Time
		code  tunnel.Code
		text  string
	}{
		"for another edge":          {newToken("a", "c", "agent", request, now), now, tunnel.CodeUnauthorized, `for edge "c"`},
		"of this edge":              {newToken("b", "b", "agent", request, now), now, tunnel.CodeUnauthorized, "leads to another"},
		"expired":                   {made, now.Add(tokenLife), tunnel.CodeUnauthorized, "NTP"},
		"of a clock far ahead":      {made, now.Truncate(time.Millisecond).Add(-clockSkew - time.Millisecond), tunnel.CodeUnauthorized, "10.001s ahead"},
		"of a clock far behind":     {newToken("a", "b", "agent", request, now.Truncate(time.Millisecond).Add(-time.Hour)), now.Truncate(time.Millisecond), tunnel.CodeUnauthorized, `the clock of edge "a" is 1h0m0s behind that of edge "b"`},
		"of a clock an hour ahead":  {newToken("a", "b", "agent", request, now.Truncate(time.Millisecond).Add(time.Hour)), now.Truncate(time.Millisecond), tunnel.CodeUnauthorized, `the clock of edge "a" is 1h0m0s ahead of that of edge "b"`},
		"that is too long":          {newToken("a", "b", strings.Repeat("x", maxToken), request, now), now, tunnel.CodeUnauthorized, "not of this cluster"},
		"that was made in year 1":   {token{From: "a", To: "b", Expires: -1 << 62}, now, tunnel.CodeUnauthorized, "behind"},
		"that is good for all time": {token{From: "a", To: "b", Expires: 1 << 62}, now, tunnel.CodeUnauthorized, "ahead"},
	} {
		signed, err := h.sign(c.token)
		if err != nil {
			t.Fatal(err)
		}
		if _, refused := h.verify(signed, c.now); refused == nil || refused.Code != c.code || !strings.Contains(refused.Text, c.text) {
			t.Errorf("a token %s: %v", name, refused)
		}
	}
	for _, at := range []time.Time{now.Add(-clockSkew + time.Second), now.Add(tokenLife - time.Second)} {
		if _, refused := h.verify(signed, at); refused != nil {
			t.Errorf("at %v: %v", at.Sub(now), refused)
		}
	}
}

// TestEveryChangedBitIsNoticed, of what is signed and of the signature.
func TestEveryChangedBitIsNoticed(t *testing.T) {
	h, now := testHop("b"), time.Now()
	signed, err := h.sign(newToken("a", "b", "agent", request, now))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(signed) * 8 {
		changed := []byte(signed)
		changed[i/8] ^= 1 << (i % 8)
		if _, refused := h.verify(string(changed), now); refused == nil {
			t.Fatalf("bit %d is changed and nobody minds", i)
		}
	}
	for _, other := range []string{"", ".", signed + "A", "." + signed, strings.TrimRight(signed, "AQgw")[:len(signed)-2]} {
		if _, refused := h.verify(other, now); refused == nil {
			t.Errorf("%q is good", other)
		}
	}
}

// TestUsedTokensAreRememberedWhileTheyAreGood, and no longer than twice that.
func TestUsedTokensAreRememberedWhileTheyAreGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsed()
		for n := range 60 {
			id := [16]byte{byte(n)}
			if first, full := u.first(id); !first || full {
				t.Fatalf("%d: first %v, full %v", n, first, full)
			}
			time.Sleep(time.Second)
			for back := range min(n+1, int((tokenLife+clockSkew)/time.Second)) {
				if first, _ := u.first([16]byte{byte(n - back)}); first {
					t.Fatalf("the token of %d s ago is good again", back+1)
				}
			}
		}
		if n := len(u.now) + len(u.before); n == 0 || n > 60 {
			t.Errorf("%d are remembered", n)
		}
		time.Sleep(2 * usedFor)
		if first, _ := u.first([16]byte{1}); !first || len(u.now)+len(u.before) != 1 {
			t.Errorf("%d are remembered", len(u.now)+len(u.before))
		}
	})
}

func TestWhoCanRememberNoMoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsed()
		id := func(n int) [16]byte { return [16]byte{byte(n), byte(n >> 8), byte(n >> 16)} }
		for n := range maxUsed {
			u.first(id(n))
		}
		if first, full := u.first(id(maxUsed)); first || !full {
			t.Errorf("first %v, full %v", first, full)
		}
		if first, full := u.first(id(7)); first || full {
			t.Errorf("a used one: first %v, full %v", first, full)
		}
		time.Sleep(usedFor)
		if first, full := u.first(id(maxUsed)); !first || full {
			t.Errorf("later: first %v, full %v", first, full)
		}
	})
}

func FuzzVerify(f *testing.F) {
	h, now := testHop("b"), time.Unix(1_800_000_000, 0)
	only := newToken("a", "b", "agent", request, now)
	only.ID = [16]byte{1} // the same in each process of the fuzzer
	signed, err := h.sign(only)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed, false)
	f.Add(`{"from":"a","to":"b","expires":1800000005000}`, true)
	f.Add(`{"from":"a","to":"b","id":[1]}`, true)
	f.Fuzz(func(t *testing.T, text string, sign bool) {
		if sign { // what an edge of another version may have signed
			payload := base64.RawURLEncoding.EncodeToString([]byte(text))
			text = payload + "." + base64.RawURLEncoding.EncodeToString(h.sum(payload))
		}
		got, refused := h.verify(text, now)
		switch {
		case refused != nil && got != (token{}):
			t.Errorf("refused, and yet %+v", got)
		case refused == nil && (got.To != "b" || got.Expires <= now.UnixMilli()):
			t.Errorf("%+v is good", got)
		case refused == nil && !sign && text != signed:
			t.Errorf("%q is forged", text)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	for _, a := range []answer{{}, {WebSocket: true}, {Error: tunnel.Errorf(tunnel.CodeNoSession, "no such session")}} {
		frame, err := a.frame()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(frame, "RFB 003.008\n"...))
	}
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		reader := bytes.NewReader(b)
		a, err := readAnswer(reader)
		if err != nil {
			return
		}
		if size := len(b) - reader.Len(); size != 2+int(b[0])<<8+int(b[1]) {
			t.Errorf("%d bytes were read", size)
		}
		if a.Error != nil && len(a.Error.Code) > 100 {
			return
		}
		if _, err := a.frame(); err != nil {
			t.Errorf("an answer that can't be sent on: %v", err)
		}
	})
}
