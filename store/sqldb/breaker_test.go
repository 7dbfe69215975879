package sqldb

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// fail makes a call that begins now, lasts and is not answered.
func fail(t *testing.T, b *breaker, lasts time.Duration) (tripped bool) {
	t.Helper()
	began := time.Now()
	if !b.enter(began) {
		t.Fatal("the call was kept away")
	}
	time.Sleep(lasts)
	return b.leave(began, time.Now(), gone)
}

func TestADatabaseThatIsGoneForASecondKeepsCallsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		for i := range 10 {
			if fail(t, &b, 100*time.Millisecond) != (i == 9) {
				t.Fatalf("failure %d after %v: open is %v", i+1, time.Duration(i+1)*100*time.Millisecond, b.isOpen())
			}
		}
		began := time.Now()
		if !b.enter(began) {
			t.Fatal("nobody may look at once whether another host is there")
		}
		b.leave(began, time.Now(), gone)
		for range 1000 {
			if b.enter(time.Now()) {
				t.Fatal("a call got through")
			}
		}
		time.Sleep(probeEvery - 1)
		if b.enter(time.Now()) {
			t.Fatal("a probe got through early")
		}
	})
}

func TestFailuresAtOnceDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		for range 100 {
			if fail(t, &b, 0) {
				t.Fatal("open within no time")
			}
		}
	})
}

func TestOneSlowCallDoesNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		slow := time.Now()
		b.enter(slow)
		time.Sleep(time.Minute)
		if b.leave(slow, time.Now(), gone) {
			t.Error("a single failure opened it")
		}
		b = breaker{}
		for range 100 { // that began before others were answered
			b.enter(slow)
			b.leave(time.Now(), time.Now(), answered)
			if b.leave(slow, time.Now(), gone) {
				t.Fatal("open although others are answered")
			}
		}
	})
}

func TestOneProbeAtATimeDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		old := time.Now()
		b.enter(old)
		for !fail(t, &b, 400*time.Millisecond) {
		}
		for range 3 { // failed probes
			time.Sleep(probeEvery)
			began := time.Now()
			if !b.enter(began) {
				t.Fatal("no probe got through")
			}
			if b.enter(began) {
				t.Fatal("a second probe got through")
			}
			if b.leave(old, time.Now(), answered); !b.isOpen() {
				t.Fatal("a call from before closed it")
			}
			b.leave(began, time.Now(), gone)
			if b.enter(time.Now()) {
				t.Fatal("a call got through after a failed probe")
			}
		}
		time.Sleep(probeEvery)
		left := time.Now()
		b.enter(left)
		b.leave(left, time.Now(), unknown)
		began := time.Now()
		if !b.enter(began) {
			t.Fatal("a probe whose caller left blocks the next")
		}
		b.leave(began, time.Now(), answered)
		for range 100 {
			if !b.enter(time.Now()) {
				t.Fatal("closed, and a call is kept away")
			}
		}
		if b.isOpen() {
			t.Error("it counts as gone")
		}
	})
}

func TestTheReserveIsForWhoHasWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2, 1, time.Second)
		ctx := t.Context()
		first := s.take(ctx)
		s.take(ctx)

		began := time.Now()
		reserved := s.take(ctx)
		if waited := time.Since(began); waited != time.Second || s.inUse() != 3 {
			t.Errorf("the reserve was given after %v with %d in use", waited, s.inUse())
		}

		began = time.Now()
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if s.take(short) != nil || time.Since(began) != 3*time.Second {
			t.Errorf("a fourth slot, or an end after %v", time.Since(began))
		}

		got := make(chan time.Duration)
		began = time.Now()
		go func() { s.take(ctx); got <- time.Since(began) }()
		time.Sleep(500 * time.Millisecond)
		if s.waiting.Load() != 1 {
			t.Errorf("%d wait", s.waiting.Load())
		}
		first()
		if waited := <-got; waited != 500*time.Millisecond {
			t.Errorf("an ordinary slot was given after %v", waited)
		}
		go func() { s.take(ctx); got <- time.Since(began) }()
		synctest.Wait()
		reserved()
		if waited := <-got; waited != 1500*time.Millisecond {
			t.Errorf("the reserve that came back was given after %v", waited)
		}
	})
}
