package store_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func take(t *testing.T, c store.Coord, bucket string, r store.Rate) store.Taken {
	t.Helper()
	taken, err := c.Take(context.Background(), bucket, r)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func TestABucketFillsAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLocal(t)
		rate := store.Rate{Count: 10, Per: time.Second, Burst: 20}
		if got := take(t, l, "a", rate); got != (store.Taken{OK: true, Remaining: 19, Full: 100 * time.Millisecond}) {
			t.Errorf("%+v", got)
		}
		for range 19 {
			take(t, l, "a", rate)
		}
		if got := take(t, l, "a", rate); got != (store.Taken{Full: 2 * time.Second, RetryAfter: 100 * time.Millisecond}) {
			t.Errorf("empty: %+v", got)
		}
		time.Sleep(100*time.Millisecond - 1)
		if got := take(t, l, "a", rate); got.OK || got.RetryAfter != 1 {
			t.Errorf("a nanosecond too early: %+v", got)
		}
		time.Sleep(time.Nanosecond)
		if got := take(t, l, "a", rate); !got.OK || got.Remaining != 0 {
			t.Errorf("in time: %+v", got)
		}

		// On the long run: as many as the rate has, however it is asked.
		passed := 0
		for range 3000 { // 30 s
			time.Sleep(10 * time.Millisecond)
			if take(t, l, "a", rate).OK {
				passed++
			}
		}
		if passed != 300 {
			t.Errorf("%d in 30 s at 10 a second", passed)
		}
		time.Sleep(time.Hour)
		if got := take(t, l, "a", rate); got.Remaining != 19 {
			t.Errorf("after an hour: %+v", got)
		}
		if got := take(t, l, "a", store.Rate{Count: 10, Per: time.Second, Burst: 2}); !got.OK || got.Remaining != 0 {
			t.Errorf("with a smaller burst: %+v", got)
		}
	})
}

// TestAFloodOfBucketsIsBounded: and who is limited stays so in the middle of it.
func TestAFloodOfBucketsIsBounded(t *testing.T) {
	const most = 100_000
	synctest.Test(t, func(t *testing.T) {
		l := openLocal(t)
		rate := store.Rate{Count: 1, Per: time.Minute, Burst: 5}
		for range 5 {
			take(t, l, "busy", rate)
		}
		before := heap()
		for i := range most * 3 {
			take(t, l, fmt.Sprintf("flood-%d", i), rate)
		}
		if grown := heap() - before; grown > 64<<20 {
			t.Errorf("the flood takes %d MiB", grown>>20)
		}
		if take(t, l, "busy", rate).OK {
			t.Error("the flood has freed who was limited")
		}
		time.Sleep(time.Hour)
		take(t, l, "later", rate)
		if grown := heap() - before; grown > 32<<20 {
			t.Errorf("an hour after the flood: %d MiB", grown>>20)
		}
	})
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkTake(b *testing.B) {
	l := store.NewLocal()
	defer l.Close()
	for i := range 50_000 {
		_, _ = l.Take(context.Background(), fmt.Sprint(i), store.Rate{Count: 1, Per: time.Hour, Burst: 5})
	}
	for b.Loop() {
		_, _ = l.Take(context.Background(), "one", store.Rate{Count: 1e9, Per: time.Second, Burst: 1e6})
	}
}
