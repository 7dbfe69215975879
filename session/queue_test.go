package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// watch runs a queue whose looks are counted; look may be nil.
func watch(t *testing.T, limit int, look func(id string, n int) (time.Time, error)) (q *queue, looks func(id string) int, end func()) {
	var mu sync.Mutex
	counts := map[string]int{}
	q = newQueue(limit)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.run(ctx, func(_ context.Context, id string) (time.Time, error) {
			mu.Lock()
			counts[id]++
			n := counts[id]
			mu.Unlock()
			return look(id, n)
		})
	}()
	looks = func(id string) int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return counts[id]
	}
	return q, looks, func() { cancel(); <-ended }
}

func TestAKickMeansALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, looks, end := watch(t, 2, func(string, int) (time.Time, error) { return time.Time{}, nil })
		for i := range 3 {
			q.kick("a")
			if got := looks("a"); got != i+1 {
				t.Errorf("%d looks after %d kicks", got, i+1)
			}
		}
		end()
		if len(q.entries) != 0 {
			t.Errorf("kept %v", q.entries)
		}
	})
}

func TestAKickDuringALookMeansOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		q, looks, end := watch(t, 2, func(_ string, n int) (time.Time, error) {
			if n == 1 {
				<-hold
			}
			return time.Time{}, nil
		})
		q.kick("a")
		if got := looks("a"); got != 1 {
			t.Fatalf("%d looks", got)
		}
		for range 5 {
			q.kick("a")
			synctest.Wait()
		}
		if got := looks("a"); got != 1 {
			t.Errorf("%d looks at once", got)
		}
		close(hold)
		if got := looks("a"); got != 2 {
			t.Errorf("%d looks, want 2", got)
		}
		end()
	})
}

func TestALookIsRepeatedWhenItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, looks, end := watch(t, 2, func(string, int) (time.Time, error) { return time.Now().Add(time.Minute), nil })
		q.kick("a")
		pass(5*time.Minute - time.Second)
		if got := looks("a"); got != 5 {
			t.Errorf("%d looks in five minutes", got)
		}
		q.kick("a") // puts the next one off, too
		if got := looks("a"); got != 6 {
			t.Errorf("%d looks after a kick", got)
		}
		pass(59 * time.Second)
		if got := looks("a"); got != 6 {
			t.Errorf("%d looks", got)
		}
		end()
	})
}

func TestLooksThatFailBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, looks, end := watch(t, 2, func(string, int) (time.Time, error) { return time.Time{}, errors.New("no") })
		q.kick("a")
		pass(time.Hour)
		if got := looks("a"); got < 120 || got > 250 { // every 15 to 30 s at the end
			t.Errorf("%d looks in an hour", got)
		}
		end()
	})
}

func TestNoMoreLooksAtOnceThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		q, looks, end := watch(t, 3, func(string, int) (time.Time, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return time.Time{}, nil
		})
		for i := range 30 {
			q.kick(fmt.Sprint(i))
		}
		pass(10 * time.Second)
		for i := range 30 {
			if looks(fmt.Sprint(i)) != 1 {
				t.Errorf("%d was not looked at", i)
			}
		}
		if most != 3 {
			t.Errorf("%d looks at once, want 3", most)
		}
		end()
	})
}

func TestBackoffGrowsToHalfAMinute(t *testing.T) {
	for failures, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		for range 100 {
			if d := backoff(failures); d <= most/2-1 || d > most {
				t.Fatalf("backoff(%d) is %v, want %v to %v", failures, d, most/2, most)
			}
		}
	}
}
