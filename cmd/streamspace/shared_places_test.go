package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// lostCoord is a Coord that this edge can't reach while it is lost.
type lostCoord struct {
	store.Coord
	lost atomic.Bool
}

func (c *lostCoord) TakePlace(ctx context.Context, group, holder string, most int, ttl time.Duration) (bool, error) {
	if c.lost.Load() {
		return false, store.Errorf(store.Unavailable, "lost by the test")
	}
	return c.Coord.TakePlace(ctx, group, holder, most, ttl)
}

func (c *lostCoord) KeepPlaces(ctx context.Context, held map[string][]string, ttl time.Duration) error {
	if c.lost.Load() {
		return store.Errorf(store.Unavailable, "lost by the test")
	}
	return c.Coord.KeepPlaces(ctx, held, ttl)
}

func (c *lostCoord) Places(ctx context.Context, group string) (int, error) {
	if c.lost.Load() {
		return 0, store.Errorf(store.Unavailable, "lost by the test")
	}
	return c.Coord.Places(ctx, group)
}

// sharing is an edge that runs until kill.
func sharing(t *testing.T, coord store.Coord, perSession, perUser int) (p *sharedPlaces, kill func()) {
	p = newSharedPlaces(coord, vncConfig{MaxStreamsPerSession: perSession, MaxStreamsPerUser: perUser}, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.run(ctx)
	}()
	kill = func() { cancel(); <-done }
	t.Cleanup(kill)
	return p, kill
}

func grantFor(session, owner string) proxy.Grant {
	return proxy.Grant{Session: session, Org: "acme", Owner: owner}
}

// wantRefused checks what a viewer is told, both before and when it comes.
func wantRefused(t *testing.T, p *sharedPlaces, g proxy.Grant, want proxy.Reason) {
	t.Helper()
	_, entered := p.enter(t.Context(), g, "one too many")
	for what, err := range map[string]error{"asked": p.room(t.Context(), g), "entering": entered} {
		var refused *proxy.Refusal
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
}

func enters(t *testing.T, p *sharedPlaces, g proxy.Grant, stream string) (leave func()) {
	t.Helper()
	leave, err := p.enter(t.Context(), g, stream)
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

func TestStreamsOfASessionAndAUserAreCountedByAllEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		coord := store.NewLocal()
		a, _ := sharing(t, coord, 2, 3)
		b, _ := sharing(t, coord, 2, 3)
		leave := enters(t, a, grantFor("s1", "ann"), "1")
		enters(t, b, grantFor("s1", "ann"), "2")
		wantRefused(t, a, grantFor("s1", "ann"), proxy.SessionLimit)
		enters(t, b, grantFor("s2", "ann"), "3")
		wantRefused(t, b, grantFor("s3", "ann"), proxy.UserLimit)
		enters(t, a, grantFor("s4", "bob"), "4")
		time.Sleep(10 * placeTTL) // for as long as the streams last
		wantRefused(t, b, grantFor("s1", "ann"), proxy.SessionLimit)
		wantRefused(t, b, grantFor("s3", "ann"), proxy.UserLimit)
		leave()
		leave() // also where somebody thinks that it was not yet
		synctest.Wait()
		enters(t, b, grantFor("s1", "ann"), "5")
		wantRefused(t, a, grantFor("s1", "ann"), proxy.SessionLimit)
	})
}

func TestSharedPlacesAreExactUnderARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSession, perUser, rush = 3, 5, 60
		coord := store.NewLocal()
		a, _ := sharing(t, coord, perSession, perUser)
		b, _ := sharing(t, coord, perSession, perUser)
		var all sync.WaitGroup
		var mu sync.Mutex
		var in []func()
		of := map[string]int{}
		for i := range rush {
			all.Go(func() {
				session := fmt.Sprintf("s%d", i/2%2)
				leave, err := []*sharedPlaces{a, b}[i%2].enter(t.Context(), grantFor(session, "ann"), fmt.Sprint(i))
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				of[session]++
				in = append(in, leave)
			})
		}
		all.Wait()
		if of["s0"] > perSession || of["s1"] > perSession || len(in) > perUser || len(in) < perSession {
			t.Errorf("streams of the sessions: %v", of)
		}
		for _, leave := range in {
			leave()
		}
		synctest.Wait()
		for _, name := range []string{"session/s0", "session/s1", `user/"acme"/"ann"`} {
			if n, _ := coord.Places(t.Context(), name); n != 0 {
				t.Errorf("%s has %d places left", name, n)
			}
		}
	})
}

func TestPlacesOfAKilledEdgeComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		coord := store.NewLocal()
		a, kill := sharing(t, coord, 1, 0)
		b, _ := sharing(t, coord, 1, 0)
		enters(t, a, grantFor("s1", "ann"), "1")
		time.Sleep(placeBeat + time.Millisecond)
		kill()
		wantRefused(t, b, grantFor("s1", "ann"), proxy.SessionLimit)
		time.Sleep(placeTTL)
		enters(t, b, grantFor("s1", "ann"), "2")
	})
}

// While the Coord is away the edge lets in whom its own counts let in; when it is
// back, these count.
func TestPlacesThatWereTakenWithoutTheCoordCountWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		coord := &lostCoord{Coord: store.NewLocal()}
		coord.lost.Store(true)
		a, _ := sharing(t, coord, 1, 1)
		b, _ := sharing(t, coord, 1, 1)
		g := grantFor("s1", "ann")
		if err := a.room(t.Context(), g); err != nil {
			t.Error(err)
		}
		leave := enters(t, a, g, "1")
		time.Sleep(placeTTL)
		coord.lost.Store(false)
		time.Sleep(placeBeat)
		synctest.Wait()
		wantRefused(t, b, g, proxy.SessionLimit)
		leave()
		synctest.Wait()
		enters(t, b, g, "2")
	})
}
