package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// use uses a ticket at all edges at once, and tells at how many it opened a
// stream and what the others said.
func (f *fleet) use(ticket string) (opened int, refused []string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(testContext(f.t), 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, in := range f.working() {
		all.Go(func() {
			viewer, err := in.view(ctx, ticket)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, err.Error())
				return
			}
			opened++
			_ = viewer.Close()
		})
	}
	all.Wait()
	return opened, refused
}

// TestClusterTicketsAreUsedOnce: at whichever edges at once, and whatever Redis
// forgets, or PostgreSQL's primary takes with it.
func TestClusterTicketsAreUsedOnce(t *testing.T) {
	f := startFleet(t)
	console := f.populate().consoles[0]
	next := 0
	fresh := func() string {
		next++
		return f.edges[next%len(f.edges)].ticket(console.ID, "view")
	}
	var used []string
	once := func(when string) {
		t.Helper()
		for range 5 {
			ticket := fresh()
			if opened, refused := f.use(ticket); opened != 1 {
				t.Errorf("%s: a ticket opened %d streams; the others: %v", when, opened, refused)
			}
			used = append(used, ticket)
		}
	}
	never := func(when string) {
		t.Helper()
		for _, ticket := range used {
			opened, refused := f.use(ticket)
			if opened > 0 || strings.Count(strings.Join(refused, " "), "status 401") != len(f.edges) {
				t.Errorf("%s: a used ticket opened %d streams; the others: %v", when, opened, refused)
			}
		}
	}
	once("all is well")
	if err := f.redis.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	never("Redis has forgotten")
	f.redis.Pause()
	once("Redis stands still")
	never("Redis stands still")
	f.redis.Kill()
	once("Redis is dead")
	f.redis.Run()
	never("Redis is another")

	ticket := fresh()
	f.primary.Suspend()
	if opened, refused := f.use(ticket); opened > 0 || strings.Count(strings.Join(refused, " "), "status 503") != len(f.edges) {
		t.Errorf("while nobody knows what was used a ticket opened %d streams; the others: %v", opened, refused)
	}
	if f.edges[0].retryAfter(ticket) < 1 {
		t.Error("the viewer may try again at once while nobody knows what was used")
	}
	f.primary.Kill()
	f.promote()
	for _, in := range f.edges {
		eventually(t, "a ticket opens a stream with another primary", func() error {
			var ticket struct{ Token string }
			if err := in.get("/api/v1/sessions/"+console.ID+"/vnc", &ticket); err != nil {
				return err
			}
			viewer, err := in.view(testContext(t), ticket.Token)
			if err == nil {
				_ = viewer.Close()
			}
			return err
		})
	}
	never("another primary")
	once("another primary")
}

// TestTicketsOfAnEdgeAlone: it leaves the next process what it knows of them, unless
// it is killed.
func TestTicketsOfAnEdgeAlone(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	id := in.running(nil).ID
	ctx := testContext(t)
	use := func(ticket string) {
		t.Helper()
		viewer, err := in.view(ctx, ticket)
		if err != nil {
			t.Fatal(err)
		}
		_ = viewer.Close()
	}
	refused := func(name, ticket string) {
		t.Helper()
		if again, err := in.view(ctx, ticket); err == nil || !strings.Contains(err.Error(), "status 401") {
			t.Errorf("%s: %v, %v", name, again, err)
		}
	}
	back := func() {
		in.startEdge()
		in.agentsOnline(1)
		in.becomes(id, "running")
	}
	used, later, unused := in.ticket(id, "view"), in.ticket(id, "view"), in.ticket(id, "view")
	use(used)
	in.process.stop()
	back()
	refused("used before a restart", used)
	use(later)
	in.process.kill()
	back()
	for name, ticket := range map[string]string{"used before the restart": used, "used before the kill": later, "not used": unused} {
		refused(name, ticket)
	}
	in.visit(ctx, id)
}
