package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// newAuth is an Auth on a real store of its own.

func newAuth(t testing.TB) (*Auth, *sqldb.DB) {
	t.Helper()
	db, err := sqldb.Open(context.Background(), filepath.Join(t.TempDir(), "streamspace.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	a, err := New(context.Background(), db, store.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	return a, db
}

func addKey(t testing.TB, db *sqldb.DB, role store.Role, change ...func(*store.Key)) (secret string, key *store.Key) {
	t.Helper()
	secret, key, err := NewKey("k", "a", "alice", role)
	for _, c := range change {
		c(key)
	}
	if err == nil {
		err = db.CreateKey(context.Background(), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret, key
}

func TestSecretsAreLongAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		secret, hash := NewSecret()
		if len(secret) != 47 || !strings.HasPrefix(secret, "ssk_") || len(hash) != 32 || seen[secret] {
			t.Fatalf("a secret of %d characters, a hash of %d bytes", len(secret), len(hash))
		}
		if _, err := base64.RawURLEncoding.DecodeString(secret[4:]); err != nil {
			t.Fatal(err)
		}
		seen[secret] = true
	}
}

func TestKeysAreKnownByTheirSecret(t *testing.T) {
	a, db := newAuth(t)
	secret, key := addKey(t, db, store.RoleAgent)
	other, _ := NewSecret()
	for name, c := range map[string]struct {
		secret string
		ok     bool
	}{
		"as it is":              {secret, true},
		"with a pin":            {secret + "@sha256:" + strings.Repeat("0", 64), true},
		"another":               {other, false},
		"cut":                   {secret[:46], false},
		"longer":                {secret + "A", false},
		"without its prefix":    {secret[4:], false},
		"empty":                 {"", false},
		"only a pin":            {"@sha256:00", false},
		"the hash":              {string(key.Hash), false},
		"in another case":       {strings.ToUpper(secret), false},
		"with a space after it": {secret + " ", false},
	} {
		for range 2 { // the second time from the cache
			caller, err := a.Key(context.Background(), c.secret)
			switch {
			case c.ok && (err != nil || caller != Caller{KeyID: key.ID, Name: "k", Org: "a", Owner: "alice", Role: store.RoleAgent}):
				t.Errorf("%s: %+v, %v", name, caller, err)
			case !c.ok && (store.CodeOf(err) != store.Unauthorized || caller != Caller{}):
				t.Errorf("%s: %+v, %v", name, caller, err)
			case !c.ok && len(c.secret) > 10 && strings.Contains(err.Error(), c.secret):
				t.Errorf("%s: the error tells the secret", name)
			}
		}
	}
}

func TestDeletedKeysAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, db := newAuth(t)
		ctx := context.Background()
		secret, key := addKey(t, db, store.RoleUser)
		caller, err := a.Key(ctx, secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteKey(ctx, key.ID); err != nil { // by another edge
			t.Fatal(err)
		}
		if _, err := a.Key(ctx, secret); err != nil {
			t.Errorf("the key is not remembered: %v", err)
		}
		time.Sleep(keyLife)
		if _, err := a.Key(ctx, secret); store.CodeOf(err) != store.Unauthorized {
			t.Errorf("%s after its deletion: %v", keyLife, err)
		}
		if err := a.Check(ctx, caller); store.CodeOf(err) != store.Unauthorized {
			t.Errorf("Check: %v", err)
		}

		secret, key = addKey(t, db, store.RoleUser)
		if _, err := a.Key(ctx, secret); err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteKey(ctx, key.ID); err != nil { // by this edge
			t.Fatal(err)
		}
		a.Forget(key.ID)
		if _, err := a.Key(ctx, secret); store.CodeOf(err) != store.Unauthorized {
			t.Errorf("after Forget: %v", err)
		}
	})
}

// TestAKeyLoadedBeforeItsDeletionIsNotKept: the load and the deletion cross.

func TestAKeyLoadedBeforeItsDeletionIsNotKept(t *testing.T) {
	a, db := newAuth(t)
	secret, key := addKey(t, db, store.RoleUser)
	index := string(HashSecret(secret))
	_, generation := a.keys.get(index)
	a.Forget(key.ID)
	a.keys.put(index, key, generation)
	if a.keys.known(index) {
		t.Error("the deleted key is kept")
	}
}

func TestKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, db := newAuth(t)
		secret, _ := addKey(t, db, store.RoleUser, func(k *store.Key) { k.ExpiresAt = time.Now().Add(2 * time.Second) })
		if _, err := a.Key(context.Background(), secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the cache still has it
		if _, err := a.Key(context.Background(), secret); store.CodeOf(err) != store.Unauthorized {
			t.Errorf("an expired key: %v", err)
		}
	})
}

func TestTheKeyCacheIsBounded(t *testing.T) {
	c := newKeyCache()
	for range maxKeys + 10 {
		c.put(uuid.NewString(), &store.Key{ID: "k"}, 0)
	}
	if len(c.entries) > maxKeys {
		t.Errorf("%d entries", len(c.entries))
	}
}

func TestFailuresAreBoundedAndForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		coord := store.NewLocal()
		one, other := failures{coord}, failures{coord} // of two edges
		address := func(i int) netip.Prefix {
			return clientAddress(&http.Request{RemoteAddr: fmt.Sprintf("10.%d.%d.%d:1", i>>16&255, i>>8&255, i&255)})
		}
		ctx, bad := t.Context(), address(1<<20)
		for i := range failureBurst {
			if one.blocked(ctx, bad) || other.blocked(ctx, bad) {
				t.Fatal("blocked too early")
			}
			[]failures{one, other}[i%2].count(ctx, bad)
		}
		for i := range 1000 {
			other.count(ctx, address(i))
		}
		if !one.blocked(ctx, bad) || !other.blocked(ctx, bad) || one.blocked(ctx, address(5)) {
			t.Error("the wrong address is blocked, or by one edge alone")
		}
		other.count(ctx, bad)
		time.Sleep(failureEvery)
		if one.blocked(ctx, bad) {
			t.Error("never forgiven")
		}
	})
}

func TestAddressesOfOneClient(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[2001:db8::1]:1", "[2001:db8::ffff]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", true},
		{"", "@", true},
	} {
		if same := clientAddress(&http.Request{RemoteAddr: c.a}) == clientAddress(&http.Request{RemoteAddr: c.b}); same != c.same {
			t.Errorf("%s and %s: same is %v", c.a, c.b, same)
		}
	}
}

// claims are those of a good ticket, to be spoilt.

// TestVerbsByRole is the whole table of who may do what.

// FuzzAuthorization: whatever the header says, a secret comes only from a

// bearer header, and is part of it.

// FuzzOrigin: an origin that is read is the same when it is read again, and

// only a host that is the same passes for the site's own.

// FuzzTicket: nothing but what was signed here is a ticket.
