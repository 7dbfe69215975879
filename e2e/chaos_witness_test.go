package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
)

// witnesses write the history of a fleet until they are told to leave.
type witnesses struct {
	f *fleet
	chaos.Recorder
	owner sync.WaitGroup
	leave context.CancelFunc

	mu     sync.Mutex
	writes []time.Time // when a write was acknowledged
}

// How often they look and act; a write is waited for as a person would.
const (
	sampleEvery   = 250 * time.Millisecond
	ticketEvery   = 500 * time.Millisecond
	writeEvery    = 200 * time.Millisecond
	writePatience = 5 * time.Second
)

// witness begins a history of a fleet and of the sessions that it has. random is
// for what is chosen.
func (f *fleet) witness(d desktops, seed uint64) *witnesses {
	ctx, leave := context.WithCancel(context.Background())
	w := &witnesses{f: f, leave: leave}
	for _, s := range d.consoles {
		w.Session(s.ID, func(s *chaos.Session) { s.Ran = true })
	}
	for _, s := range d.real {
		w.Session(s.ID, func(s *chaos.Session) { s.Ran, s.Servers = true, 1 })
	}
	every := func(pause time.Duration, do func(ctx context.Context, random *rand.Rand), seed uint64) {
		random := rand.New(rand.NewPCG(seed, 2))
		w.owner.Go(func() {
			for ctx.Err() == nil {
				do(ctx, random)
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	every(sampleEvery, func(context.Context, *rand.Rand) {
		s := chaos.Sample{At: time.Now(), Holdings: f.holdings()}
		w.Write(func(h *chaos.History) { h.Samples = append(h.Samples, s) })
	}, seed)
	every(writeEvery, w.createAndEnd, seed+1)
	every(writeEvery, w.createAndEnd, seed+2)
	every(ticketEvery, func(ctx context.Context, random *rand.Rand) { w.useTwice(ctx, random, d.consoles) }, seed+3)
	f.t.Cleanup(w.end)
	return w
}

func (w *witnesses) end() {
	w.leave()
	w.owner.Wait()
}

// holdings are the sessions that agents have, by their folders and processes.
func (f *fleet) holdings() (all []chaos.Holding) {
	servers := map[string]int{} // by session folder
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		command, _ := os.ReadFile(file) // it may have ended
		if words := strings.Split(string(command), "\x00"); strings.Contains(words[0], "Xtigervnc") {
			if folder := f.sessionFolder().FindString(string(command)); folder != "" {
				servers[folder]++
			}
		}
	}
	for i := range f.agents {
		folders, _ := filepath.Glob(filepath.Join(f.agentFolder(i), "agent", "sessions", "*"))
		for _, folder := range folders {
			all = append(all, chaos.Holding{Session: filepath.Base(folder), Agent: agentName(i), Servers: servers[folder]})
			delete(servers, folder)
		}
	}
	for folder, n := range servers { // of nobody
		all = append(all, chaos.Holding{Session: filepath.Base(folder), Agent: "none", Servers: n})
	}
	return all
}

func (f *fleet) sessionFolder() *regexp.Regexp {
	return regexp.MustCompile(regexp.QuoteMeta(f.folder) + `/desk-[0-9]+/agent/sessions/[0-9a-f-]+`)
}

// createAndEnd makes a session, at whichever edge takes it, sees it run, and ends
// it.
func (w *witnesses) createAndEnd(ctx context.Context, random *rand.Rand) {
	var ids []string
	key := http.Header{"Idempotency-Key": {fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())}}
	made := w.until(ctx, func() bool {
		var s desktop
		status := w.ask(random, "POST", "/api/v1/sessions", map[string]any{"runtime": "demo", "width": 320, "height": 200}, key, &s)
		if status == http.StatusAccepted && s.ID != "" {
			ids = append(ids, s.ID)
		}
		return len(ids) > 0
	})
	if !made {
		return
	}
	w.wrote()
	id := ids[0]
	w.Session(id, func(*chaos.Session) {})
	var again desktop
	if w.ask(random, "POST", "/api/v1/sessions", map[string]any{"runtime": "demo", "width": 320, "height": 200}, key, &again) == http.StatusAccepted {
		w.Session(id, func(s *chaos.Session) { s.Twin = again.ID })
	}
	w.until(ctx, func() bool {
		var s desktop
		w.ask(random, "GET", "/api/v1/sessions/"+id, nil, nil, &s)
		if s.State == "running" {
			w.Session(id, func(s *chaos.Session) { s.Ran = true })
		}
		return s.State == "running" || s.State == "failed"
	})
	w.until(context.Background(), func() bool { // also when it is time to leave: else it would stay
		if w.ask(random, "DELETE", "/api/v1/sessions/"+id, nil, nil, nil) != http.StatusAccepted {
			return false
		}
		w.wrote()
		w.Session(id, func(s *chaos.Session) { s.Ended = true })
		return true
	})
}

func (w *witnesses) wrote() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, time.Now())
}

func (w *witnesses) written() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Time(nil), w.writes...)
}

// until asks again and again, for as long as a fault may last.
func (w *witnesses) until(ctx context.Context, done func() bool) bool {
	for end := time.Now().Add(2 * patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(writeEvery / 2) {
		if done() {
			return true
		}
	}
	return false
}

// ask is a request to any edge; 0: no answer.
func (w *witnesses) ask(random *rand.Rand, method, path string, body any, header http.Header, into any) int {
	in := w.f.doors[random.IntN(len(w.f.doors))]
	ctx, cancel := context.WithTimeout(context.Background(), writePatience)
	defer cancel()
	status, answer, err := in.tryWithin(ctx, in.APIKey, method, path, body, header)
	if err != nil {
		return 0
	}
	if into != nil {
		_ = json.Unmarshal(answer, into) // a refusal is not what was asked for
	}
	return status
}

// useTwice gets a ticket and uses it at two edges at once.
func (w *witnesses) useTwice(ctx context.Context, random *rand.Rand, consoles []desktop) {
	id := consoles[random.IntN(len(consoles))].ID
	var ticket struct{ Token, ID string }
	if w.ask(random, "POST", "/api/v1/sessions/"+id+"/vnc", map[string]string{"mode": "view"}, nil, &ticket) != http.StatusOK {
		return
	}
	first := random.IntN(len(w.f.doors))
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	var both sync.WaitGroup
	for i := range 2 {
		both.Go(func() {
			viewer, err := w.f.doors[(first+i)%len(w.f.doors)].view(ctx, ticket.Token)
			use := chaos.Use{Ticket: ticket.ID, At: time.Now(), Took: err == nil}
			w.Write(func(h *chaos.History) { h.Uses = append(h.Uses, use) })
			if err == nil {
				_ = viewer.Close()
			}
		})
	}
	both.Wait()
}
