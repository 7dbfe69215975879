package tunnel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// homesTold runs tellHomes alone: what it sends stays in the channel's queue.
func homesTold(t *testing.T, homes func(string) []Home) (told *tunnel, stop func()) {
	ctx, end := context.WithCancelCause(context.Background())
	told = &tunnel{
		hub:     NewHub(HubOptions{Homes: homes}),
		agentID: "agent",
		hello:   Hello{Homes: true},
		channel: &channel{out: make(chan Envelope, sendQueue), ctx: ctx, end: end},
		rehome:  make(chan struct{}, 1),
	}
	told.hub.tunnels["agent"] = told
	ended := make(chan struct{})
	first := told.homes()
	go func() {
		defer close(ended)
		told.tellHomes(first)
	}()
	return told, func() {
		end(errLeft)
		<-ended
	}
}

func TestHomesAreToldWithinTheJitterAndOnlyWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		homes := []Home{{Node: "a", URL: "https://a"}}
		tunnel, stop := homesTold(t, func(string) []Home { return homes })
		defer stop()
		const jitter = 20 * time.Second
		count := func() int { synctest.Wait(); return len(tunnel.channel.out) }

		tunnel.hub.Rehome(jitter)
		time.Sleep(jitter)
		if n := count(); n != 0 {
			t.Fatalf("told %d times what the welcome said", n)
		}
		homes = []Home{{Node: "b", URL: "https://b"}}
		tunnel.hub.Rehome(jitter)
		tunnel.hub.Rehome(jitter)
		time.Sleep(jitter)
		if n := count(); n != 1 {
			t.Fatalf("told %d times, want once", n)
		}
		if m := <-tunnel.channel.out; m.Homes == nil || len(m.Homes.List) != 1 || m.Homes.List[0].Node != "b" {
			t.Errorf("told %+v", m)
		}
		// A draining edge does not wait for a jitter that runs.
		homes = nil
		tunnel.hub.Rehome(jitter)
		synctest.Wait()
		tunnel.hub.Rehome(0)
		if n := count(); n != 1 {
			t.Errorf("told %d times at once, want once", n)
		}
		if m := <-tunnel.channel.out; m.Homes == nil || len(m.Homes.List) != 0 {
			t.Errorf("told %+v", m)
		}
		time.Sleep(2 * jitter)
		if n := count(); n != 0 {
			t.Errorf("told %d times more", n)
		}
	})
}

// TestNewHomesComeSpreadOut over the whole of the jitter.
func TestNewHomesComeSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const jitter = 10 * time.Second
		began := time.Now()
		var soonest, latest time.Duration
		for i := range 100 {
			tunnel := &tunnel{rehome: make(chan struct{}, 1)}
			tunnel.rehomeWithin(jitter)
			at := tunnel.rehomeBy.Sub(began)
			if at < 0 || at >= jitter {
				t.Fatalf("at %v", at)
			}
			if i == 0 || at < soonest {
				soonest = at
			}
			latest = max(latest, at)
		}
		if latest-soonest < jitter/2 {
			t.Errorf("all are told between %v and %v", soonest, latest)
		}
	})
}

func TestAListOfHomesIsCut(t *testing.T) {
	tunnel, stop := homesTold(t, func(string) []Home { return make([]Home, MaxHomes+1) })
	defer stop()
	if n := len(tunnel.homes()); n != MaxHomes {
		t.Errorf("%d homes", n)
	}
}

// FuzzHome: what is taken for a home can be dialled, or fails with words.
func FuzzHome(f *testing.F) {
	f.Add("a", "https://edge.example.org", "")
	f.Add("a", "http://127.0.0.1:1", "sha256:")
	f.Add("", "https://x", "")
	f.Add("a", "https://user@x/path?q", "p")
	f.Add("a", "//x", "")
	f.Fuzz(func(t *testing.T, node, url, pin string) {
		home := Home{Node: node, URL: url, Pin: pin}
		if home.check() != nil {
			return
		}
		d, err := newDialer(home, ClientOptions{Pinned: pinned}, dialTCP)
		switch {
		case err != nil && err.Error() == "":
			t.Error("an error without words")
		case err == nil && (d.home != home || d.address == ""):
			t.Errorf("%+v is dialled as %+v at %q", home, d.home, d.address)
		}
	})
}
