package redis

import (
	"fmt"
	"testing"
	"time"
)

func TestWhatIsDoneWithAMessage(t *testing.T) {
	const quiet = 4 * time.Second
	start := time.Now()
	type said struct {
		after  time.Duration // the start of the connection
		from   string
		number uint64
		event  bool
		want   verdict
	}
	for name, all := range map[string][]said{
		"one after another":                  {{0, "b", 5, true, next}, {1, "b", 6, true, next}, {2, "b", 6, false, next}, {3, "b", 7, true, next}},
		"what comes twice is taken once":     {{0, "b", 5, true, next}, {1, "b", 5, true, ignore}, {2, "b", 4, true, ignore}, {3, "b", 6, true, next}},
		"one is lost":                        {{0, "b", 5, true, next}, {1, "b", 7, true, gap}, {2, "b", 8, true, next}},
		"the last is lost, the beat says so": {{0, "b", 5, true, next}, {1, "b", 6, false, gap}, {2, "b", 6, false, next}},
		"edges count for themselves":         {{0, "b", 5, true, next}, {1, "c", 1, true, next}, {2, "b", 6, true, next}, {3, "c", 2, true, next}},
		"one's own are known":                {{0, "a", 1, true, ignore}, {1, "a", 9, false, ignore}},
		"an edge that comes later begins at 1": {
			{quiet, "a", 0, false, ignore}, {quiet + 1, "b", 1, true, next}, {quiet + 2, "c", 0, false, next}, {quiet + 3, "d", 2, true, gap},
			{quiet + 4, "e", 3, false, gap},
		},
		"an old edge is known by its beats": {{1, "b", 5, false, next}, {quiet, "a", 0, false, ignore}, {quiet + 1, "b", 6, true, next}},
		"others are heard and it is not":    {{1, "a", 0, false, ignore}, {quiet + 1, "b", 1, true, next}, {quiet + 2, "b", 2, true, deaf}},
		"an edge that was gone for long": {
			{1, "b", 5, true, next}, {10*quiet + 2, "a", 0, false, ignore}, {10*quiet + 3, "b", 6, true, gap},
		},
	} {
		p := newPublishers("a", quiet, start)
		for _, one := range all {
			if got := p.judge(one.from, one.number, one.event, start.Add(one.after)); got != one.want {
				t.Errorf("%s: %s %d after %s: %d, want %d", name, one.from, one.number, one.after, got, one.want)
			}
		}
	}
}

func TestPublishersThatHaveGoneAreForgotten(t *testing.T) {
	now := time.Now()
	p := newPublishers("a", time.Second, now)
	for i := range 1000 {
		now = now.Add(time.Second / 10)
		p.judge("a", 0, false, now)
		p.judge(fmt.Sprint("edge-", i), 1, true, now)
	}
	if n := len(p.last); n > 200 {
		t.Errorf("%d of 1000 are remembered, want those of the last 10 s", n)
	}
}
