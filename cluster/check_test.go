package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestChecksTurnByThresholds: three bad ones in a row make ill, two good ones
// well again.
func TestChecksTurnByThresholds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		results := make(chan error) // the probe waits for what it shall find
		a := w.start("a", func(o *Options) {
			o.Check = CheckConfig{Healthy: 2, Unhealthy: 3}
			o.Probe = func(ctx context.Context, _ Node) error {
				select {
				case err := <-results:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		b := w.start("b")
		settle()
		bad := errors.New("connection refused")
		for i, step := range []struct {
			result  error
			healthy bool
		}{{nil, true}, {bad, true}, {bad, true}, {nil, true}, {bad, true}, {bad, true}, {bad, false}, {nil, false}, {bad, false}, {nil, false}, {nil, true}} {
			began := time.Now()
			results <- step.result
			synctest.Wait()
			if got := a.of(t, "b").Healthy; got != step.healthy {
				t.Errorf("step %d: healthy is %v", i, got)
			}
			if took := time.Since(began); i > 0 && (took < 13*time.Second || took > 17*time.Second) {
				t.Errorf("step %d came after %v", i, took)
			}
		}
		b.stop()
	})
}

func TestACheckConfigThatIsWrong(t *testing.T) {
	for field, c := range map[string]CheckConfig{
		"interval":  {Interval: time.Millisecond},
		"timeout":   {Interval: time.Second, Timeout: 2 * time.Second},
		"healthy":   {Healthy: -1},
		"unhealthy": {Unhealthy: -1},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []CheckConfig{{}, {Interval: MinCheckInterval}, {Interval: time.Minute, Timeout: time.Second, Healthy: 1, Unhealthy: 10}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
