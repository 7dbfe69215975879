// Package storetest is the one suite that every Store and every Coord must
// pass.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// hang is how long a test waits for what should come at once, only so that a
// hang becomes a failure.
const hang = time.Minute

// TestStore holds a Store to its contract. open returns a new and empty one,
// and closes it when its test ends.
func TestStore(t *testing.T, open func(t *testing.T) store.Store) {
	for _, group := range [][]behaviour{
		sessionBehaviours(), idempotencyBehaviours(), changeBehaviours(), admissionBehaviours(), listBehaviours(), agentBehaviours(), keyBehaviours(), nodeBehaviours(), ticketBehaviours(), clockBehaviours(),
	} {
		for _, b := range group {
			t.Run(b.name, func(t *testing.T) { b.test(t, open(t)) })
		}
	}
}

type behaviour struct {
	name string
	test func(t *testing.T, s store.Store)
}

// session is one that Store could have got from its caller, with every field
// set.
func session() *store.Session {
	created := time.Now().UTC().Truncate(time.Microsecond)
	return &store.Session{
		ID: newID(), Name: "drawing board \u2603", Org: "acme", Owner: "ann",
		State: store.Pending, Desired: store.Running, Reason: "waits for its turn",
		AgentID: newID(), Runtime: "process", Labels: map[string]string{"gpu": "yes", "zone": "\"a\""},
		Width: 1920, Height: 1080, Endpoint: "10.0.0.7:5900",
		IdleTimeout: 20 * time.Minute, MaxDuration: 8*time.Hour + time.Microsecond,
		LastActivity: created.Add(time.Second), CreatedAt: created, UpdatedAt: created.Add(2 * time.Second),
		ExpiresAt: created.Add(8 * time.Hour), EndsAt: created.Add(7 * time.Hour), EndsBecause: store.EndsIdle,
		Refusals: store.Refusals{Count: 2, By: map[string]bool{newID(): true}, Latest: "no room", NotBefore: created.Add(time.Minute)},
	}
}

func agent() *store.Agent {
	created := time.Now().UTC().Truncate(time.Microsecond)
	return &store.Agent{
		ID: newID(), Name: "host-7", KeyHash: randomHash(), Capacity: 20, Weight: 2,
		Labels:   map[string]string{"gpu": "yes"},
		Runtimes: []store.Runtime{{Name: "process", Type: "process", Slots: 15}, {Name: "demo"}},
		Version:  "1.2.3", Draining: true, CreatedAt: created, LastHeartbeat: created.Add(time.Second),
	}
}

func key() *store.Key {
	created := time.Now().UTC().Truncate(time.Microsecond)
	return &store.Key{
		ID: newID(), Name: "laptop", Org: "acme", Owner: "ann", Role: store.RoleUser, Hash: randomHash(),
		CreatedAt: created, ExpiresAt: created.Add(time.Hour),
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func randomHash() []byte {
	hash := make([]byte, 32)
	_, _ = rand.Read(hash) // never fails
	return hash
}

// malformedIDs are some that no store has.
func malformedIDs() []string {
	return []string{"", "x", newID() + " ", "' OR '1'='1", "a\x00b", "\xff\xfe", string(bytes.Repeat([]byte("long"), 1<<12))}
}

func mustCreate(t *testing.T, s store.Store, row *store.Session) *store.Session {
	t.Helper()
	stored, created, err := s.CreateSession(context.Background(), row, "")
	if err != nil || !created {
		t.Fatalf("CreateSession: created %v, %v", created, err)
	}
	return stored
}

func mustEnrol(t *testing.T, s store.Store, row *store.Agent) *store.Agent {
	t.Helper()
	stored, err := s.EnrolAgent(context.Background(), row)
	if err != nil {
		t.Fatalf("EnrolAgent: %v", err)
	}
	return stored
}

// every fails when a field of the sample is zero: a round trip would not show
// whether it is kept.
func every[T any](t *testing.T, sample *T) *T {
	t.Helper()
	v := reflect.ValueOf(sample).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("the sample has no %s", v.Type().Field(i).Name)
		}
	}
	return sample
}

func wantEqual[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func wantCode(t *testing.T, what string, err error, want store.Code) {
	t.Helper()
	if got := store.CodeOf(err); got != want {
		t.Fatalf("%s: code %q (%v), want %q", what, got, err, want)
	}
}

func ids(sessions []*store.Session) []string {
	ids := make([]string, len(sessions))
	for i, s := range sessions {
		ids[i] = s.ID
	}
	return ids
}
