package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestOnlyAnAgentThatCanTakeTheSessionGetsIt(t *testing.T) {
	gpu := func(s *store.Session) { s.Runtime = "gpu" }
	inLab := func(s *store.Session) { s.Labels = map[string]string{"zone": "lab", "disk": "ssd"} }
	consoles := store.Runtime{Name: "consoles", Slots: 2, Endpoints: []string{"vm-1", "vm-2"}}
	atVM1 := func(s *store.Session) { s.Labels = map[string]string{EndpointLabel: "vm-1"} }
	tests := map[string]struct {
		agent func(*store.Agent)
		ask   func(*store.Session)
		want  string // why not; empty: it is taken
	}{
		"the default runtime":            {nil, nil, ""},
		"a runtime it has":               {func(a *store.Agent) { a.Runtimes = append(a.Runtimes, store.Runtime{Name: "gpu"}) }, gpu, ""},
		"a runtime it lacks":             {nil, gpu, `1 without runtime "gpu"; bring one back or add one that fits`},
		"no runtime at all":              {func(a *store.Agent) { a.Runtimes = nil }, nil, "1 without any runtime"},
		"all labels":                     {func(a *store.Agent) { a.Labels = map[string]string{"zone": "lab", "disk": "ssd", "x": "y"} }, inLab, ""},
		"one label missing":              {func(a *store.Agent) { a.Labels = map[string]string{"zone": "lab"} }, inLab, "1 without the labels asked for"},
		"another value of a label":       {func(a *store.Agent) { a.Labels = map[string]string{"zone": "lab", "disk": "hdd"} }, inLab, "1 without the labels asked for"},
		"draining":                       {func(a *store.Agent) { a.Draining = true }, nil, "1 draining"},
		"an endpoint it has":             {func(a *store.Agent) { a.Runtimes = append(a.Runtimes, consoles) }, atVM1, ""},
		"an endpoint it lacks":           {nil, atVM1, `1 without endpoint "vm-1"`},
		"of another runtime":             {func(a *store.Agent) { a.Runtimes = append(a.Runtimes, consoles) }, func(s *store.Session) { atVM1(s); s.Runtime = "desktop" }, `1 without endpoint "vm-1"`},
		"capacity 1 with headroom":       {func(a *store.Agent) { a.Capacity = 1 }, nil, ""},
		"every reason is counted apart":  {func(a *store.Agent) { a.Draining = true }, gpu, "1 draining"},
		"an empty label that is missing": {nil, func(s *store.Session) { s.Labels = map[string]string{"zone": ""} }, "1 without the labels asked for"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.join("a", func(a *store.Agent) {
					if test.agent != nil {
						test.agent(a)
					}
				})
				ask := &store.Session{}
				if test.ask != nil {
					test.ask(ask)
				}
				_, err := w.m.Create(t.Context(), ask, "")
				switch {
				case test.want == "" && err != nil:
					t.Errorf("refused: %v", err)
				case test.want != "" && (store.CodeOf(err) != store.NoAgent || !strings.Contains(err.Error(), test.want)):
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		})
	}
}

func TestARefusalCountsWhyForEveryAgent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		refusal := func() string {
			_, err := w.m.Create(t.Context(), &store.Session{Runtime: "gpu"}, "")
			if store.CodeOf(err) != store.NoAgent {
				t.Fatalf("Create: %v", err)
			}
			return err.Error()
		}
		if got, want := refusal(), "no agent can take this session: none has joined; start one with `streamspace agent`"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		hasGPU := func(a *store.Agent) { a.Capacity, a.Runtimes = 1, []store.Runtime{{Name: "gpu"}} }
		w.join("full1", hasGPU)
		w.join("full2", hasGPU)
		for range 2 {
			w.create(func(s *store.Session) { s.Runtime = "gpu" })
		}
		w.drop(w.join("offline", hasGPU))
		w.join("other")
		want := `no agent can take this session: 2 full, 1 offline, 1 without runtime "gpu"; add an agent or stop a session`
		if got := refusal(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if n, _ := w.metric("streamspace_session_placements_total", "no_agent"); n != 2 {
			t.Errorf("%v refusals counted, want 2", n)
		}
	})
}

func TestRoomIsCapacityLessHeadroomButAtLeastOne(t *testing.T) {
	for _, test := range []struct {
		capacity int
		headroom float64
		want     int
	}{
		{1, .2, 1}, {2, .2, 1}, {4, .2, 3}, {5, .2, 4}, {10, .2, 8}, {20, .2, 16}, {10, 0, 10}, {10, .9, 1}, {10, .3, 7}, {3, .99, 1}, {1000, .2, 800},
	} {
		m := &Manager{o: Options{Headroom: test.headroom}}
		if got := m.Room(&store.Agent{Capacity: test.capacity}); got != test.want {
			t.Errorf("capacity %d, headroom %v: room for %d, want %d", test.capacity, test.headroom, got, test.want)
		}
	}
}

func TestRuntimeSlotsBindBesideCapacity(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.join("a", func(a *store.Agent) { a.Runtimes = []store.Runtime{{Name: "win", Slots: 2}, {Name: "free"}} })
		w.create()
		w.create(func(s *store.Session) { s.Runtime = "win" })
		for _, runtime := range []string{"", "win"} {
			if _, err := w.m.Create(t.Context(), &store.Session{Runtime: runtime}, ""); store.CodeOf(err) != store.NoAgent || !containsFold(err.Error(), "1 full") {
				t.Errorf("runtime %q: %v", runtime, err)
			}
		}
		w.create(func(s *store.Session) { s.Runtime = "free" })
	})
}

func TestConcurrentCreatesNeverOverbook(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m.o.Headroom = 0.2
		hosts := []*host{
			w.join("a", func(a *store.Agent) { a.Capacity = 50 }),                                                              // room for 40
			w.join("b", func(a *store.Agent) { a.Capacity = 100; a.Runtimes = []store.Runtime{{Name: "desktop", Slots: 30}} }), // 30 slots
			w.join("c", func(a *store.Agent) {
				a.Capacity, a.Weight = 25, 4
				a.Runtimes = []store.Runtime{{Name: "desktop"}, {}}
			}), // 20
		}
		var created sync.WaitGroup
		var mu sync.Mutex
		taken, refused := 0, 0
		for range 200 {
			created.Go(func() {
				_, err := w.m.Create(t.Context(), &store.Session{}, "")
				mu.Lock()
				defer mu.Unlock()
				switch store.CodeOf(err) {
				case "":
					taken++
				case store.NoAgent:
					refused++
				default:
					t.Error(err)
				}
			})
		}
		created.Wait()
		time.Sleep(10 * time.Second) // an agent takes a bounded number of commands at once; the rest come again
		synctest.Wait()
		if taken != 90 || refused != 110 {
			t.Errorf("%d taken, %d refused; want 90 and 110", taken, refused)
		}
		for i, want := range []int{40, 30, 20} {
			if got := len(w.runs(hosts[i])); got != want {
				t.Errorf("%s runs %d, want %d", hosts[i].agent.Name, got, want)
			}
		}
		w.checkBooks()
	})
}

func TestWeightsShareTheSessions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.join("a", func(a *store.Agent) { a.Capacity = 100 })
		b := w.join("b", func(a *store.Agent) { a.Capacity, a.Weight = 100, 3 })
		for range 40 {
			w.create()
		}
		if na, nb := len(w.runs(a)), len(w.runs(b)); na < 9 || na > 11 || na+nb != 40 {
			t.Errorf("a has %d and b %d, want about 10 and 30", na, nb)
		}
	})
}

func TestRoundRobinGivesAgentsEqualTurnsWhateverTheirWeights(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.o.Strategy = "round_robin"
		w.restart()
		a := w.join("a", func(a *store.Agent) { a.Capacity = 100 })
		b := w.join("b", func(a *store.Agent) { a.Capacity, a.Weight = 100, 3 })
		for range 40 {
			w.create()
		}
		if na, nb := len(w.runs(a)), len(w.runs(b)); na != 20 || nb != 20 {
			t.Errorf("a has %d and b %d, want 20 each", na, nb)
		}
	})
}

func TestTheSameKeyGivesTheFirstSessionEvenWithoutRoom(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a", func(a *store.Agent) { a.Capacity = 1 })
		create := func(owner, key string) (*store.Session, error) {
			return w.m.Create(t.Context(), &store.Session{Owner: owner}, key)
		}
		first, err := create("ann", "k")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 2 {
			if again, err := create("ann", "k"); err != nil || again.ID != first.ID {
				t.Errorf("got %+v, %v; want the session of the first call", again, err)
			}
			if _, err := create("bob", "k"); store.CodeOf(err) != store.NoAgent {
				t.Errorf("another owner's key: %v", err)
			}
			w.leave(h) // nobody is online now
		}
	})
}

func TestASessionThatIsRefusedGoesElsewhere(t *testing.T) {
	for _, code := range []store.Code{store.NoAgent, store.Unavailable, store.Conflict, store.Internal} {
		t.Run(string(code), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a := w.join("a")
				w.set(a, mood{refuse: store.Errorf(code, "not here")})
				b := w.join("b", func(a *store.Agent) { a.Capacity = 1 })
				s := w.create() // both are empty; a comes first
				w.want(s.ID, store.Running, "")
				if got := w.runs(b); !slices.Equal(got, []string{s.ID}) {
					t.Errorf("b runs %v", got)
				}
				if got := w.session(s.ID).Refusals; got.Count != 0 || got.By != nil {
					t.Errorf("a refusal is remembered of a session that runs: %+v", got)
				}
				w.checkBooks()
			})
		})
	}
}

func TestASessionThatNobodyStartsFailsWithTheReason(t *testing.T) {
	for code, within := range map[store.Code]time.Duration{
		store.Invalid: 0, store.Conflict: 0, // asking again is no use
		store.NoAgent: 2 * time.Minute, store.Unavailable: 2 * time.Minute, store.Internal: 2 * time.Minute,
	} {
		t.Run(string(code), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				h := w.join("a")
				w.set(h, mood{refuse: &store.Error{Code: code, Text: "Xtigervnc is not installed", Cause: errors.New("exec: /usr/bin: secret")}})
				s := w.create()
				if within > 0 {
					w.want(s.ID, store.Pending, "Xtigervnc is not installed")
				}
				pass(within)
				w.want(s.ID, store.Failed, "Xtigervnc is not installed")
				if reason := w.session(s.ID).Reason; containsFold(reason, "secret") {
					t.Errorf("the owner is told the cause: %q", reason)
				}
				w.checkBooks()
			})
		})
	}
}

func TestASessionWithoutAnAgentWaitsForRoom(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		one := func(a *store.Agent) { a.Capacity = 1 }
		a, b := w.join("a", one), w.join("b", one)
		w.set(a, mood{slow: time.Hour}) // its session never gets to run
		w.create()
		w.create()
		var waiting, running string
		for _, s := range w.all() {
			if s.AgentID == a.agent.ID {
				waiting = s.ID
			} else {
				running = s.ID
			}
		}
		w.leave(a)
		w.want(waiting, store.Pending, "1 full, 1 offline")
		if _, err := w.m.Stop(t.Context(), running); err != nil {
			t.Fatal(err)
		}
		w.want(waiting, store.Running, "")
		if got := w.runs(b); !slices.Equal(got, []string{waiting}) {
			t.Errorf("b runs %v", got)
		}
		w.checkBooks()
	})
}

func TestASessionFoundWhereNobodyExpectsItIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.join("a")
		w.set(a, mood{refuse: store.Errorf(store.Unavailable, "no ack came")}) // but it did start it
		s := w.create()
		w.say(a, s.ID, ObservedRunning, "")
		w.want(s.ID, store.Running, "")
		if a.starts != 0 {
			t.Errorf("started again")
		}
		w.checkBooks()
	})
}

func TestWhatASessionMayAskFor(t *testing.T) {
	labels := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint(i)] = ""
		}
		return m
	}
	for name, test := range map[string]struct {
		ask  store.Session
		want string // named in the error; empty: it is fine
	}{
		"nothing":             {store.Session{}, ""},
		"a long name":         {store.Session{Name: strings.Repeat("ü", 100)}, ""},
		"too long a name":     {store.Session{Name: strings.Repeat("ü", 101)}, "name"},
		"a name with control": {store.Session{Name: "a\nb"}, "name"},
		"invalid UTF-8":       {store.Session{Name: "a\xff"}, "name"},
		"smallest":            {store.Session{Width: 64, Height: 64}, ""},
		"largest":             {store.Session{Width: 8192, Height: 8192}, ""},
		"too narrow":          {store.Session{Width: 62}, "width"},
		"too wide":            {store.Session{Width: 8194}, "width"},
		"odd":                 {store.Session{Height: 601}, "height"},
		"negative":            {store.Session{Height: -2}, "height"},
		"most labels":         {store.Session{Labels: labels(32)}, "no agent"}, // no agent has them
		"too many labels":     {store.Session{Labels: labels(33)}, "labels"},
		"an empty label":      {store.Session{Labels: map[string]string{"": "x"}}, "labels"},
		"a long label":        {store.Session{Labels: map[string]string{strings.Repeat("k", 64): "x"}}, "labels"},
		"a long label value":  {store.Session{Labels: map[string]string{"k": strings.Repeat("x", 256)}}, "labels.k"},
		"negative idle":       {store.Session{IdleTimeout: -1}, "idle_timeout"},
		"negative duration":   {store.Session{MaxDuration: -1}, "max_duration"},
		"endpoint, runtime":   {store.Session{Endpoint: "10.0.0.9:5900", Runtime: "x"}, "runtime"},
		"endpoint, labels":    {store.Session{Endpoint: "10.0.0.9:5900", Labels: labels(1)}, "labels"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.join("a")
				s, err := w.m.Create(t.Context(), &test.ask, "")
				if test.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					if id, err := uuid.Parse(s.ID); err != nil || id.Version() != 7 {
						t.Errorf("id %q", s.ID)
					}
				} else if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want it to name %s", err, test.want)
				}
			})
		})
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("desktop", "zone", "lab", 1280, 720, int64(0))
	f.Add("a\x00", "", "\xff", 63, -1, int64(-1))
	f.Fuzz(func(t *testing.T, name, key, value string, width, height int, idle int64) {
		s := &store.Session{Name: name, Labels: map[string]string{key: value}, Width: width, Height: height, IdleTimeout: time.Duration(idle)}
		err := validate(s)
		if err != nil && store.CodeOf(err) != store.Invalid {
			t.Errorf("%v has code %s", err, store.CodeOf(err))
		}
		if err == nil && (!printable(name+key+value) || idle < 0 || width < 0 || height > maxSize) {
			t.Errorf("accepted %+v", s)
		}
	})
}

func TestASessionIsNotInItsOwnWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a", func(a *store.Agent) { a.Capacity = 1; a.Runtimes = []store.Runtime{{Name: "x", Slots: 1}} })
		w.set(h, mood{refuse: store.Errorf(store.NoAgent, "no free display")})
		s := w.create()
		w.want(s.ID, store.Pending, "no free display")
		w.set(h, mood{})
		pass(time.Second)
		w.want(s.ID, store.Running, "")
	})
}

// TestASessionIsCalledLikeItsEndpoint unless it has a name, and an endpoint that
// is in use is not given away again.
func TestASessionIsCalledLikeItsEndpoint(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.join("a", func(a *store.Agent) {
			a.Runtimes = append(a.Runtimes, store.Runtime{Name: "consoles", Slots: 3, Endpoints: []string{"vm-1", "vm-2", "vm-3"}})
		})
		at := func(endpoint, name string) func(*store.Session) {
			return func(s *store.Session) { s.Labels, s.Name = map[string]string{EndpointLabel: endpoint}, name }
		}
		h.endpoint = "vm-1"
		first := w.create(at("vm-1", ""))
		if got := w.session(first.ID); got.Name != "vm-1" || got.Runtime != "consoles" || got.State != store.Running {
			t.Errorf("it is %+v", got)
		}
		_, err := w.m.Create(t.Context(), &store.Session{Labels: map[string]string{EndpointLabel: "vm-1"}}, "")
		if store.CodeOf(err) != store.NoAgent || !containsFold(err.Error(), "another session has the endpoint asked for; stop that session") {
			t.Errorf("the same again: %v", err)
		}
		h.endpoint = "vm-2"
		if got := w.session(w.create(at("vm-2", "mine")).ID); got.Name != "mine" {
			t.Errorf("a session with a name is called %q", got.Name)
		}
		h.endpoint = "vm\x00-3"
		unnamed := w.create(func(s *store.Session) { s.Name, s.Runtime = "", "consoles" })
		if got := w.session(unnamed.ID); got.Name != "" {
			t.Errorf("a name that can't be shown became %q", got.Name)
		}
		if _, err := w.m.Stop(t.Context(), unnamed.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.set(h, mood{refuse: store.Errorf(store.Invalid, "nobody answers there")})
		failed := w.create(at("vm-3", ""))
		w.want(failed.ID, store.Failed, "nobody answers there")
		if got := w.session(failed.ID); got.Name != "vm-3" {
			t.Errorf("a session that did not get the endpoint it asked for is called %q", got.Name)
		}
		w.set(h, mood{})
		if _, err := w.m.Stop(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.endpoint = "vm-1"
		w.want(w.create(at("vm-1", "")).ID, store.Running, "")
	})
}

// TestTheHeadroomIsNamed: who sees 4 of 5 must learn why that is full.
func TestTheHeadroomIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openStore(t))
		w.o.Headroom = 0.2
		w.run()
		w.join("a", func(a *store.Agent) { a.Capacity = 5 })
		for range 4 {
			w.create()
		}
		_, err := w.m.Create(t.Context(), &store.Session{}, "")
		want := "no agent can take this session: 1 full (agents.headroom keeps the rest of 1 free); add an agent, stop a session or lower agents.headroom"
		if store.CodeOf(err) != store.NoAgent || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		w.end()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
}
