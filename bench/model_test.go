package bench

import (
	"testing"
	"time"
)

func TestADesktopKeepsItsRateInBurstsOfAllowedSizes(t *testing.T) {
	r := rates{10_000, 50_000}
	for connection := range uint32(20) {
		m := newDesktopModel(1, connection, r)
		var sum time.Duration
		var bytes, bursts, updates int
		for sum < 30*time.Minute {
			pause, pixels := m.next()
			if pixels < smallestPixels || pixels > largestPixels || pause < frameLow {
				t.Fatalf("an update of %d bytes after %s", pixels, pause)
			}
			if pause > frameHigh {
				bursts++
			}
			sum += pause
			bytes += pixels + updateHead
			updates++
		}
		got := float64(bytes) / sum.Seconds()
		if got < 0.9*m.rate || got > 1.1*m.rate || m.rate < r.Low || m.rate > r.High {
			t.Errorf("desktop %d: %.0f bytes a second, its rate is %.0f", connection, got, m.rate)
		}
		if perBurst := updates / max(bursts, 1); perBurst < 3 || perBurst > 30 {
			t.Errorf("desktop %d: %d updates a burst", connection, perBurst)
		}
	}
}

func TestTheSameSeedGivesTheSameRhythm(t *testing.T) {
	one, two, other := newDesktopModel(5, 8, rates{1, 2}), newDesktopModel(5, 8, rates{1, 2}), newDesktopModel(6, 8, rates{1, 2})
	a, b := newInputModel(5, 8), newInputModel(5, 8)
	differs := false
	for range 1000 {
		p1, s1 := one.next()
		p2, s2 := two.next()
		_, s3 := other.next()
		if p1 != p2 || s1 != s2 {
			t.Fatal("two desktops of the same seed differ")
		}
		differs = differs || s1 != s3
		pa, ka := a.next()
		pb, kb := b.next()
		if pa != pb || ka != kb || pa <= 0 {
			t.Fatal("two people of the same seed differ")
		}
	}
	if !differs {
		t.Error("another seed gives the same")
	}
}

func TestBlocksFollowTheirSeed(t *testing.T) {
	one, two, other := newBlock(300), newBlock(300), newBlock(301)
	if string(one) != string(two) || string(one[:64]) == string(other[:64]) {
		t.Error("the same seed must give the same bytes, another one others")
	}
	if string(one[:largest]) != string(one[blockSize:]) {
		t.Error("the block's end does not continue with its beginning")
	}
}
