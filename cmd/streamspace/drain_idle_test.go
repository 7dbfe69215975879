package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

func TestIdleConnectionsAreSparedNoLongerThanNeeded(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration // of the drain
		began   time.Duration // ago
		leaves  time.Duration // after which the client does; 0: never
		want    time.Duration
	}{
		"none is there":             {30 * time.Second, 0, -1, 0},
		"it leaves":                 {30 * time.Second, 0, time.Second, time.Second},
		"it stays":                  {30 * time.Second, 0, 0, idleGrace},
		"it stays in a long drain":  {time.Hour, 0, 0, idleGrace},
		"it stays in a short drain": {6 * time.Second, 0, 0, time.Second},
		"others took some of it":    {30 * time.Second, 4 * time.Second, 0, idleGrace - 4*time.Second},
		"others took all of it":     {30 * time.Second, 9 * time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &edge{config: defaultEdgeConfig()}
				e.config.Drain.Timeout = duration(c.timeout)
				if c.leaves >= 0 {
					e.countConnection(nil, fasthttp.StateNew)
					e.countConnection(nil, fasthttp.StateActive)
					e.countConnection(nil, fasthttp.StateIdle)
				}
				if c.leaves > 0 {
					time.AfterFunc(c.leaves, func() { e.countConnection(nil, fasthttp.StateClosed) })
				}
				now := time.Now()
				e.spareIdle(context.Background(), now.Add(-c.began))
				if took := time.Since(now); took < c.want || took > c.want+idleLook {
					t.Errorf("it took %s, want %s", took, c.want)
				}
			})
		})
	}
}

func TestTheDrainsEndEndsTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &edge{config: defaultEdgeConfig()}
		e.countConnection(nil, fasthttp.StateNew)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		e.spareIdle(ctx, began)
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
