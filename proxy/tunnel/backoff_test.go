package tunnel

import (
	"errors"
	"testing"
	"time"
)

// TestRetriesAreSpread: agents that lost the same edge at the same moment come
// back at all moments up to a limit, which doubles with each attempt up to the last.
func TestRetriesAreSpread(t *testing.T) {
	const agents = 1000 // that none of them hits a quarter of the range has a chance of 0.75 to the 1000th
	c := NewClient(ClientOptions{})
	retries := make([]backoff, agents)
	for attempt, limit := range []time.Duration{
		firstBackoff, 2 * firstBackoff, 4 * firstBackoff, 8 * firstBackoff, 16 * firstBackoff, 32 * firstBackoff, lastBackoff, lastBackoff,
	} {
		early, late := 0, 0
		for i := range retries {
			switch wait := c.waitAfter(errors.New("the connection was lost"), &retries[i]); {
			case wait < 0 || wait >= limit:
				t.Fatalf("attempt %d waits %v; its limit is %v", attempt+1, wait, limit)
			case wait < limit/4:
				early++
			case wait >= limit*3/4:
				late++
			}
		}
		if early == 0 || late == 0 {
			t.Errorf("before attempt %d, of %d agents %d wait in the first quarter of %v and %d in the last", attempt+1, agents, early, limit, late)
		}
	}
	retries[0].reset()
	if wait := retries[0].next(); wait >= firstBackoff {
		t.Errorf("after it was reset it waits %v, not less than %v", wait, firstBackoff)
	}
}
