package storetest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func keyBehaviours() []behaviour {
	return []behaviour{
		{"a key comes back with every field", keyRoundTrip},
		{"a key that has expired is still found", keyExpired},
		{"a key id and a key hash exist once", keyTwice},
		{"a key that breaks the contract is invalid", keyInvalid},
		{"keys are listed oldest first", keyList},
		{"a key that was deleted is gone", keyDelete},
		{"a key that is unknown or malformed is not found", keyNotFound},
		{"a secret stays the same and is the caller's own copy", secretStable},
		{"a secret asked for at once is the same for all", secretRace},
	}
}

func mustCreateKey(t *testing.T, s store.Store, row *store.Key) {
	t.Helper()
	if err := s.CreateKey(context.Background(), row); err != nil {
		t.Fatalf("CreateKey: %v", err)
	}
}

func keyRoundTrip(t *testing.T, s store.Store) {
	ctx := context.Background()
	bare := &store.Key{ID: newID(), Role: store.RoleAdmin, Hash: randomHash()}
	before := time.Now().Truncate(time.Microsecond)
	mustCreateKey(t, s, bare)
	read, err := s.Key(ctx, bare.ID)
	if err != nil {
		t.Fatal(err)
	}
	if read.CreatedAt.Before(before) || read.CreatedAt.After(time.Now()) {
		t.Errorf("CreatedAt is %v, want now", read.CreatedAt)
	}
	bare.CreatedAt = read.CreatedAt
	wantEqual(t, "a bare key", read, bare)

	row := every(t, key())
	mustCreateKey(t, s, row)
	if read, err = s.Key(ctx, row.ID); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Key", read, row)
	read.Hash[0]++
	if read, err = s.KeyByHash(ctx, row.Hash); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "KeyByHash", read, row)
}

func keyExpired(t *testing.T, s store.Store) {
	row := key()
	row.ExpiresAt = time.Now().Add(-time.Hour)
	mustCreateKey(t, s, row)
	if _, err := s.KeyByHash(context.Background(), row.Hash); err != nil {
		t.Fatal(err)
	}
}

func keyTwice(t *testing.T, s store.Store) {
	row := key()
	mustCreateKey(t, s, row)
	sameID, sameHash := key(), key()
	sameID.ID, sameHash.Hash = row.ID, row.Hash
	wantCode(t, "the same id", s.CreateKey(context.Background(), sameID), store.Conflict)
	wantCode(t, "the same hash", s.CreateKey(context.Background(), sameHash), store.Conflict)
}

func keyInvalid(t *testing.T, s store.Store) {
	for field, spoil := range map[string]func(*store.Key){
		"id":   func(k *store.Key) { k.ID = "" },
		"role": func(k *store.Key) { k.Role = "root" },
		"hash": func(k *store.Key) { k.Hash = nil },
	} {
		row := key()
		spoil(row)
		err := s.CreateKey(context.Background(), row)
		wantCode(t, field, err, store.Invalid)
		if !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
}

func keyList(t *testing.T, s store.Store) {
	ctx := context.Background()
	none, err := s.Keys(ctx)
	if err != nil || len(none) != 0 {
		t.Fatalf("%d keys, %v; want none", len(none), err)
	}
	want := []*store.Key{key(), key(), key()}
	for i, row := range want {
		row.CreatedAt = row.CreatedAt.Add(time.Duration(i) * time.Second)
	}
	for _, i := range []int{1, 2, 0} {
		mustCreateKey(t, s, want[i])
	}
	got, err := s.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "Keys", got, want)
}

func keyDelete(t *testing.T, s store.Store) {
	ctx := context.Background()
	row := key()
	mustCreateKey(t, s, row)
	if err := s.DeleteKey(ctx, row.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.KeyByHash(ctx, row.Hash)
	wantCode(t, "KeyByHash", err, store.NotFound)
	wantCode(t, "DeleteKey again", s.DeleteKey(ctx, row.ID), store.NotFound)
}

func keyNotFound(t *testing.T, s store.Store) {
	ctx := context.Background()
	mustCreateKey(t, s, key())
	for _, id := range append(malformedIDs(), newID()) {
		_, err := s.Key(ctx, id)
		wantCode(t, "Key", err, store.NotFound)
		_, err = s.KeyByHash(ctx, []byte(id))
		wantCode(t, "KeyByHash", err, store.NotFound)
		wantCode(t, "DeleteKey", s.DeleteKey(ctx, id), store.NotFound)
	}
	_, err := s.KeyByHash(ctx, nil)
	wantCode(t, "KeyByHash(nil)", err, store.NotFound)
	_, err = s.KeyByHash(ctx, randomHash())
	wantCode(t, "KeyByHash of another", err, store.NotFound)
}

func secretStable(t *testing.T, s store.Store) {
	ctx := context.Background()
	first, err := s.Secret(ctx, "ticket")
	if err != nil || len(first) != 32 {
		t.Fatalf("%d bytes, %v; want 32", len(first), err)
	}
	want := bytes.Clone(first)
	first[0]++
	if again, err := s.Secret(ctx, "ticket"); err != nil || !bytes.Equal(again, want) {
		t.Fatalf("the second call gave another secret, %v", err)
	}
	if other, err := s.Secret(ctx, "cookie"); err != nil || bytes.Equal(other, want) {
		t.Fatalf("another name gave the same secret, %v", err)
	}
}

func secretRace(t *testing.T, s store.Store) {
	var all sync.WaitGroup
	secrets := make([][]byte, 20)
	for i := range secrets {
		all.Go(func() {
			var err error
			if secrets[i], err = s.Secret(context.Background(), "ticket"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, secret := range secrets {
		if len(secret) != 32 || !bytes.Equal(secret, secrets[0]) {
			t.Fatal("two callers got different secrets")
		}
	}
}
