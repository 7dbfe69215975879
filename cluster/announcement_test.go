package cluster

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func mustWrite(t testing.TB, secret string, a announcement) []byte {
	t.Helper()
	c := New(Options{Secret: []byte(secret), Self: func() Node { return Node{ID: "x"} }})
	value, err := c.seal.write(a)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestLeasesThatAreNotBelieved: nobody who only writes to the Coord can become
// an edge, or bring back what an edge said before.
func TestLeasesThatAreNotBelieved(t *testing.T) {
	evil := announcement{Node: "evil", Generation: 9, Parts: 1, URL: "https://evil.example.org"}
	for name, forge := range map[string]func(t *testing.T, w *world, real store.Lease) store.Lease{
		"another secret": func(t *testing.T, _ *world, _ store.Lease) store.Lease {
			return store.Lease{ID: "evil", Generation: 9, Value: mustWrite(t, "another secret of the same size", evil)}
		},
		"nothing": func(*testing.T, *world, store.Lease) store.Lease { return store.Lease{ID: "evil", Generation: 9} },
		"no signature": func(t *testing.T, _ *world, _ store.Lease) store.Lease {
			value := mustWrite(t, string(testSecret), evil)
			return store.Lease{ID: "evil", Generation: 9, Value: append(make([]byte, 32), value[32:]...)}
		},
		"another's, under its own id": func(_ *testing.T, _ *world, real store.Lease) store.Lease {
			return store.Lease{ID: "evil", Generation: real.Generation, Value: real.Value}
		},
		"another's, as a part of its own": func(_ *testing.T, _ *world, real store.Lease) store.Lease {
			return store.Lease{ID: "b/1", Generation: real.Generation, Value: real.Value}
		},
		"no address": func(t *testing.T, _ *world, _ store.Lease) store.Lease {
			a := evil
			a.URL = "file:///etc/passwd"
			return store.Lease{ID: "evil", Generation: 9, Value: mustWrite(t, string(testSecret), a)}
		},
		"another's, of a generation that is to come": func(_ *testing.T, _ *world, real store.Lease) store.Lease {
			return store.Lease{ID: "b", Generation: real.Generation + 1, Value: real.Value}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				all := w.startMany("a", "b")
				list, err := w.coord.Leases(t.Context(), leaseKind)
				if err != nil || len(list) != 2 {
					t.Fatal(list, err)
				}
				lease := forge(t, w, list[1])
				lease.Kind = leaseKind
				if err := w.coord.Hold(t.Context(), lease, time.Hour); err != nil {
					t.Fatal(err)
				}
				settle()
				all[0].sees(t, "a", "b")
				if b := all[0].of(t, "b"); b.URL != "https://b.example.org" || b.Generation != list[1].Generation {
					t.Errorf("b is %+v", b)
				}
			})
		})
	}
}

// TestWhatIsOlderIsNotBelieved: of the same process, and of one before it; also
// while the node has no lease of its own.
func TestWhatIsOlderIsNotBelieved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.startMany("a", "b")
		all[1].AgentHere("agent", 1, true)
		settle()
		list, err := w.coord.Leases(t.Context(), leaseKind)
		if err != nil {
			t.Fatal(err)
		}
		old := list[1] // b, with the agent
		all[1].AgentHere("agent", 1, false)
		settle()
		replay := func() {
			t.Helper()
			w.flush() // a failover that has lost the last writes
			if err := w.coord.Hold(t.Context(), old, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		replay()
		for range 15 {
			settle()
			if got := all[0].Homes("agent"); len(got) != 0 {
				t.Fatal("a believes what b said before")
			}
			all[0].sees(t, "a", "b")
		}
		if err := all[1].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		all[1].stop()
		settle()
		all[0].sees(t, "a")
		replay()
		time.Sleep(defaultBeat)
		settle()
		all[0].sees(t, "a")

		second := w.start("b")
		time.Sleep(defaultBeat)
		settle()
		all[0].sees(t, "a", "b")
		second.kill()
		replay() // of the process before
		time.Sleep(4 * beatsOfLease * defaultBeat)
		settle()
		all[0].sees(t, "a")
	})
}

func TestABelievedLeaseIsTheOneThatWasWritten(t *testing.T) {
	c := New(Options{Secret: testSecret, Self: func() Node { return Node{ID: "x"} }})
	agents := map[string]uint64{"one": 1, "two": 2, `"quoted"`: 3, strings.Repeat("long", 4000): 4, "ünïcode": 5}
	n := Node{ID: "edge", URL: "https://edge:443", Pin: "sha256:00", Version: "v", Generation: 7, Streams: 1, MaxStreams: 2, Draining: true}
	parts := announcementsOf(n, agents)
	if len(parts) < 2 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, a := range parts {
		value, err := c.seal.write(a)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.seal.read(store.Lease{ID: partID("edge", i), Generation: 7, Value: value})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range got.Agents {
			delete(agents, id)
		}
		if i == 0 && (got.URL != n.URL || got.Streams != 1 || !got.Draining || got.Parts != len(parts)) {
			t.Errorf("%+v", got)
		}
	}
	if len(agents) != 0 {
		t.Errorf("%d agents are lost", len(agents))
	}
}

func TestEveryLeaseHasRoom(t *testing.T) {
	agents := map[string]uint64{}
	for i := range 5000 {
		agents[strings.Repeat("x", 36)+string(rune('a'+i%26))+strings.Repeat("y", i/26)[:min(i/26, 20)]+string(rune(0x100+i))] = 1
	}
	n := Node{ID: strings.Repeat("n", 63), URL: "https://" + strings.Repeat("h", 253) + ":65535", Pin: "sha256:" + strings.Repeat("0", 64), Version: strings.Repeat("v", 64)}
	for i, a := range announcementsOf(n, agents) {
		a.Sequence, a.Generation = 1<<63, 1<<63
		lease := store.Lease{Kind: leaseKind, ID: partID(n.ID, i), Value: mustWrite(t, string(testSecret), a)}
		if err := lease.Check(time.Second); err != nil {
			t.Error(err)
		}
	}
}

func FuzzReadLease(f *testing.F) {
	c := New(Options{Secret: testSecret, Self: func() Node { return Node{ID: "x"} }})
	good, err := c.seal.write(announcement{Node: "edge", Generation: 1, Parts: 1, URL: "https://edge", Agents: []string{"agent"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[32:], false)
	f.Add(good, true)
	f.Add([]byte(`{"node":"edge","generation":1,"parts":1,"part":-1}`), false)
	f.Fuzz(func(t *testing.T, b []byte, asIs bool) {
		value := b
		if !asIs { // what somebody who has the secret may have signed
			value = append(c.seal.sum(b), b...)
		}
		a, err := c.seal.read(store.Lease{ID: "edge", Generation: 1, Value: value})
		if err != nil {
			return
		}
		if asIs && !bytes.Equal(b, good) && !bytes.Equal(c.seal.sum(b[32:]), b[:32]) {
			t.Errorf("a forged lease is believed: %q", b)
		}
		if a.Node != "edge" || a.Generation != 1 || a.Part != 0 || a.Parts < 1 {
			t.Errorf("%+v", a)
		}
	})
}
