package main

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestADrainTellsWhatIsLeftAndWhatIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		left  inWork // after 6 s
		takes time.Duration
		want  []string
	}{
		"nothing to do":  {takes: 0, want: []string{"drained"}},
		"done in time":   {takes: 8 * time.Second, want: []string{"draining goes on", "drained"}},
		"cut off":        {left: inWork{1, 2, 3}, takes: 12 * time.Second, want: []string{"draining goes on", "draining goes on", "the drain's time is over; what is left is cut off"}},
		"only a request": {left: inWork{requests: 1}, takes: time.Second, want: []string{"the drain's time is over; what is left is cut off"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			core, logged := observer.New(zap.InfoLevel)
			began := time.Now()
			ended := tellDrain(zap.New(core), func() inWork {
				if time.Since(began) < 6*time.Second && c.takes > time.Second {
					return inWork{10, 20, 30}
				}
				return c.left
			})
			time.Sleep(c.takes)
			ended()
			var got []string
			for _, line := range logged.All() {
				got = append(got, line.Message)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%s: %q, want %q", name, got, c.want)
			}
			if c.takes > 5*time.Second {
				if first := logged.All()[0].ContextMap(); first["requests"] != int64(10) || first["upgraded"] != int64(20) || first["viewers"] != int64(30) {
					t.Errorf("%s: %v", name, first)
				}
			}
			if last := logged.All()[len(got)-1].ContextMap(); c.left != (inWork{}) && last["viewers"] != int64(c.left.viewers) {
				t.Errorf("%s: %v", name, last)
			}
		})
	}
}
