package main

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// offStore is a Store whose clock is ahead of this host's.
type offStore struct {
	store.Store
	ahead atomic.Int64
}

func (s *offStore) ClockAhead() time.Duration { return time.Duration(s.ahead.Load()) }

// TestAWrongClockIsToldOnceForEachChange, and not while a host that slept has not
// asked again.
func TestAWrongClockIsToldOnceForEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		s := &offStore{}
		e := &edge{store: s, log: zap.New(core)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.followClock(ctx) }()
		time.Sleep(time.Second)
		said := func(ahead, passed time.Duration, want ...string) {
			t.Helper()
			s.ahead.Store(int64(ahead))
			time.Sleep(passed)
			synctest.Wait()
			var got []string
			for _, l := range logs.TakeAll() {
				text := l.Level.String()
				for side, by := range l.ContextMap() {
					text += " " + side + " " + by.(time.Duration).String()
				}
				got = append(got, text)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v: logged %q, want %q", ahead, got, want)
			}
		}
		said(0, time.Minute)
		said(-time.Hour, clockLooks) // a host that slept for an hour
		said(0, time.Minute)
		said(-3*time.Second, time.Minute, "warn ahead 3s")
		said(2*time.Hour, time.Hour, "warn behind 2h0m0s")
		said(0, time.Hour, "info")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestACertificateOfAClockThatWasAheadIsMadeAnew, under the key that agents know.
func TestACertificateOfAClockThatWasAheadIsMadeAnew(t *testing.T) {
	dir, hosts := t.TempDir(), []string{"127.0.0.1"}
	ahead, err := selfSigned(dir, hosts)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // it is the year 2000
		again, err := selfSigned(dir, hosts)
		if err != nil {
			t.Fatal(err)
		}
		if leaf := again.current.Load().Leaf; leaf.NotBefore.After(time.Now()) || again.pin() != ahead.pin() {
			t.Errorf("one that is good from %v, at %v; pins %s and %s", leaf.NotBefore, time.Now(), again.pin(), ahead.pin())
		}
	})
}

func TestNodesTellWhoseClockIsWrong(t *testing.T) {
	e := loneEdge(t, t.TempDir())
	e.store = &offStore{Store: e.store}
	e.store.(*offStore).ahead.Store(int64(-90 * time.Second))
	e.running(t, func() {
		nodes, err := e.nodes(t.Context())
		if err != nil || len(nodes) != 1 || nodes[0].ClockOffset != 90 {
			t.Errorf("%+v, %v", nodes, err)
		}
	})
}
