package store_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func mustHold(t *testing.T, c store.Coord, l store.Lease, ttl time.Duration) {
	t.Helper()
	if err := c.Hold(context.Background(), l, ttl); err != nil {
		t.Fatal(err)
	}
}

func TestALeaseLastsAsLongAsItWasHeldFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := openLocal(t)
		held := func() int {
			list, err := c.Leases(t.Context(), "node")
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		one := store.Lease{Kind: "node", ID: "a", Generation: 2}
		for range 3 {
			mustHold(t, c, one, 3*time.Second)
			time.Sleep(3*time.Second - 1)
			if held() != 1 {
				t.Fatal("it ended too early")
			}
		}
		time.Sleep(time.Nanosecond)
		if held() != 0 {
			t.Error("it did not end")
		}

		if err := c.Release(t.Context(), "node", "a", 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - 1)
		if err := c.Hold(t.Context(), one, time.Second); store.CodeOf(err) != store.Conflict {
			t.Errorf("a beat that is a minute late: %v", err)
		}
		time.Sleep(time.Nanosecond)
		mustHold(t, c, one, time.Second)
	})
}
