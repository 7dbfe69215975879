package storetest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func bucketLook(t *testing.T, c store.Coord) {
	bucket, rate := newID(), store.Rate{Count: 1, Per: time.Hour, Burst: 2}
	look := func() store.Taken {
		t.Helper()
		taken, err := c.Look(context.Background(), bucket, rate)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	for left := 2; left > 0; left-- {
		for range 3 {
			if got := look(); !got.OK || got.Remaining != left || got.RetryAfter != 0 {
				t.Errorf("%+v, want %d left", got, left)
			}
		}
		take(t, c, bucket, rate)
	}
	if got := look(); got.OK || got.RetryAfter <= 59*time.Minute {
		t.Errorf("an empty bucket: %+v", got)
	}
}

func place(t *testing.T, c store.Coord, group, holder string, most int, ttl time.Duration) bool {
	t.Helper()
	taken, err := c.TakePlace(context.Background(), group, holder, most, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func wantPlaces(t *testing.T, c store.Coord, group string, want int) {
	t.Helper()
	got, err := c.Places(context.Background(), group)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "places of "+group, got, want)
}

func leavePlaces(t *testing.T, c store.Coord, held map[string][]string) {
	t.Helper()
	if err := c.LeavePlaces(context.Background(), held); err != nil {
		t.Fatal(err)
	}
}

func placesBounded(t *testing.T, c store.Coord) {
	group, other := newID(), newID()
	wantPlaces(t, c, group, 0)
	for holder, want := range []bool{true, true, false} {
		if got := place(t, c, group, strconv.Itoa(holder), 2, time.Hour); got != want {
			t.Errorf("holder %d of 2 places: %v", holder, got)
		}
	}
	if !place(t, c, group, "1", 2, time.Hour) || !place(t, c, group, "1", 1, time.Hour) {
		t.Error("a holder who asks again is refused")
	}
	if !place(t, c, other, "2", 1, time.Hour) {
		t.Error("another group is full, too")
	}
	leavePlaces(t, c, map[string][]string{group: {"2", "never there"}, other: {"2"}})
	wantPlaces(t, c, group, 2)
	wantPlaces(t, c, other, 0)
	leavePlaces(t, c, map[string][]string{group: {"0"}})
	if !place(t, c, group, "2", 2, time.Hour) {
		t.Error("a place that was left is not free")
	}
	leavePlaces(t, c, nil)
	leavePlaces(t, c, map[string][]string{group: {"1", "2"}})
	wantPlaces(t, c, group, 0)
}

func placesRace(t *testing.T, c store.Coord) {
	const most = 7
	group := newID()
	for range 2 { // all places are free again after the first time
		var all sync.WaitGroup
		var got atomic.Int32
		for i := range 30 {
			all.Go(func() {
				taken, err := c.TakePlace(context.Background(), group, strconv.Itoa(i), most, time.Hour)
				if err != nil {
					t.Error(err)
				} else if taken {
					got.Add(1)
				}
			})
		}
		all.Wait()
		wantEqual(t, "taken", int(got.Load()), most)
		wantPlaces(t, c, group, most)
		for i := range 30 {
			all.Go(func() { leavePlaces(t, c, map[string][]string{group: {strconv.Itoa(i)}}) })
		}
		all.Wait()
		wantPlaces(t, c, group, 0)
	}
}

func placeEnds(t *testing.T, c store.Coord) {
	group := newID()
	place(t, c, group, "killed", 2, 2*time.Millisecond)
	place(t, c, group, "lives", 2, time.Hour)
	eventually(t, "the place ends", func() bool {
		held, err := c.Places(context.Background(), group)
		return err == nil && held == 1
	})
	if !place(t, c, group, "new", 2, time.Hour) || place(t, c, group, "one too many", 2, time.Hour) {
		t.Error("a place that has ended is not free, or another is, too")
	}
}

func placesKept(t *testing.T, c store.Coord) {
	const many = 1200 // groups, more than one pipeline has
	held, first := map[string][]string{}, newID()
	for i := range many {
		held[first+strconv.Itoa(i)] = []string{"a", "b"}
	}
	one := first + "0"
	place(t, c, one, "c", 1, time.Hour)
	for range 2 {
		if err := c.KeepPlaces(context.Background(), held, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	wantPlaces(t, c, one, 3)
	wantPlaces(t, c, first+strconv.Itoa(many-1), 2)
	if place(t, c, one, "d", 3, time.Hour) {
		t.Error("those that were kept do not count")
	}
	leavePlaces(t, c, held)
	wantPlaces(t, c, one, 1)
	wantPlaces(t, c, first+strconv.Itoa(many-1), 0)
}
