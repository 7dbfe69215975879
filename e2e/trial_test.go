package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// trialEdge is one of two edges with the same certificate, secret and pools.
type trialEdge struct {
	*installation
	address, file string
}

// write gives the edge its config.
func (e *trialEdge) write(folder, pools string) {
	writeText(e.t, e.file, fmt.Sprintf(`listen: {https: %q, http: "", admin: %q}
tls: {cert_file: %[3]q, key_file: %[4]q}
cluster: {secret_file: %[5]q}
store: {sqlite: {path: %[6]q}}
drain: {timeout: 60s}
%[7]s`, e.address, strings.TrimPrefix(e.AdminURL, "http://"), filepath.Join(folder, "edge.crt"), filepath.Join(folder, "edge.key"),
		filepath.Join(folder, "cluster.secret"), filepath.Join(e.data, "s.db"), pools))
}

// trialPools is the config of the pools: the backends by their weights, and what
// is added.
func trialPools(weights map[*backend]int, nginx, websockify, addedPools, addedRoutes string) string {
	text := `pools:
  - name: files
    health: {path: /health, interval: 1s, unhealthy: 5}
    upstreams: [{url: "http://` + nginx + `"}]
  - name: sockify
    affinity: {cookie: SSWEBSOCKIFY, path: /sockify}
    health: {tcp: true, interval: 1s, unhealthy: 5}
    upstreams: [{url: "http://` + websockify + `"}]
` + addedPools + `  - name: web
    affinity: {}
    health: {path: /health, interval: 500ms, unhealthy: 5}
    passive: {eject: 1s}
    slow_start: 2s
    upstreams:
`
	for b, weight := range weights {
		text += fmt.Sprintf("      - {id: %s, url: \"http://%s\", weight: %d}\n", b.name, b.address, weight)
	}
	return text + `routes:
` + addedRoutes + `  - {path: /app/, pool: web}
  - {path: /files/, pool: files}
  - {path: /sockify, pool: sockify}
`
}

func startTrialEdge(t *testing.T, folder, name, pools string) *trialEdge {
	e := &trialEdge{&installation{t: t, data: filepath.Join(folder, name)}, freePort(t), filepath.Join(folder, name+".yml")}
	e.URL, e.AdminURL = "https://"+e.address, "http://"+freePort(t)
	e.write(folder, pools)
	e.process = start(t, "edge", "--config", e.file)
	e.serves(e.data)
	return e
}

func (e *trialEdge) states() map[string]string {
	var answer struct {
		Pools []struct {
			Upstreams []struct {
				ID, State string
				Removed   bool
			}
		}
	}
	e.call("GET", "/api/v1/pools", nil, http.StatusOK, &answer)
	all := map[string]string{}
	for _, p := range answer.Pools {
		for _, u := range p.Upstreams {
			if !u.Removed {
				all[u.ID] = u.State
			}
		}
	}
	return all
}

func (e *trialEdge) await(backend string, states ...string) {
	e.t.Helper()
	eventually(e.t, backend+" is "+strings.Join(states, " or "), func() error {
		now := e.states()[backend]
		for _, state := range states {
			if now == state {
				return nil
			}
		}
		return fmt.Errorf("it is %q", now)
	})
}

func (e *trialEdge) set(backend, word string) {
	e.t.Helper()
	e.call("POST", "/api/v1/pools/web/upstreams/"+backend+"/"+word, nil, http.StatusAccepted, nil)
}

// reload is a SIGHUP, waited for.
func (e *trialEdge) reload() {
	e.t.Helper()
	done := func() int { return strings.Count(e.process.output.String(), "reload: done") }
	before := done()
	e.process.signal(syscall.SIGHUP)
	eventually(e.t, "the reload is done", func() error {
		if done() == before {
			return fmt.Errorf("%d reloads are", before)
		}
		return nil
	})
}

// requests are those of the metrics with these words in their labels.
func (e *trialEdge) requests(words ...string) (sum int64) {
	e.t.Helper()
	for line := range strings.SplitSeq(e.metrics(), "\n") {
		labels, value, _ := strings.Cut(line, "} ")
		fits := strings.HasPrefix(labels, "streamspace_http_requests_total{")
		for _, word := range words {
			fits = fits && strings.Contains(labels, word)
		}
		if fits {
			var n float64
			_, _ = fmt.Sscan(value, &n)
			sum += int64(n)
		}
	}
	return sum
}

// TestTheTrial: under 200 requests a second of 20 clients and 50 WebSockets,
// backends die, come back, drain, are disabled and weighed anew, configs are
// reloaded, and one edge takes over from the other. No request is lost but a POST
// that was at a backend when that was killed; no WebSocket is cut but those of a
// backend that was killed; clients stay where their cookie is; and the counts of
// clients, edges and backends are the same.
func TestTheTrial(t *testing.T) {
	folder := t.TempDir()
	writeCertificate(t, filepath.Join(folder, "edge.crt"), filepath.Join(folder, "edge.key"), 1)
	writeText(t, filepath.Join(folder, "cluster.secret"), strings.Repeat("a secret of the trial ", 2))
	a, b, c := newBackend(t, "a"), newBackend(t, "b"), newBackend(t, "c")
	nginx, nginxJournal := startFileNginx(t)
	websockify := startWebsockify(t, startEcho(t))
	even := map[*backend]int{a: 1, b: 1, c: 1}
	config := func(weights map[*backend]int, added ...string) string {
		added = append(added, "", "")
		return trialPools(weights, nginx, websockify, added[0], added[1])
	}
	first := startTrialEdge(t, folder, "first", config(even))
	second := startTrialEdge(t, folder, "second", config(even))
	for _, name := range []string{"a", "b", "c", nginx, websockify} {
		first.await(name, "up")
		second.await(name, "up")
	}

	tr := &trial{
		t: t, addresses: []string{first.address, second.address},
		gone: map[string]int{}, closed: map[string]int{}, off: map[string]int{}, killed: map[string]int{}, posts: map[string]bool{}, pages: map[string]bool{},
	}
	var requests, sockets sync.WaitGroup
	working, stopWork := context.WithCancel(context.Background())
	open, closeSockets := context.WithCancel(context.Background())
	defer requests.Wait()
	defer sockets.Wait()
	defer closeSockets()
	defer stopWork()
	for i := range 20 {
		one := tr.newClient(i)
		requests.Go(func() { one.run(working) })
	}
	var all []*socket
	for i := range 50 {
		one := &socket{trial: tr, number: i, address: first.address, path: "/app/ws"}
		if i >= 40 {
			one.path = "/sockify"
		}
		all = append(all, one)
		sockets.Go(func() { one.run(open) })
	}
	steady := func(what string) {
		t.Helper()
		if t.Failed() {
			t.Fatalf("it failed before the end of: %s", what)
		}
		tr.after(150)
		before := make([]int64, len(all))
		for i, s := range all {
			before[i] = s.rounds.Load()
		}
		eventually(t, "all WebSockets go on after "+what, func() error {
			for i, s := range all {
				if s.rounds.Load() == before[i] {
					return fmt.Errorf("WebSocket %d stands still", i)
				}
			}
			return nil
		})
	}
	steady("the beginning")

	gone := func(b *backend, do func()) {
		tr.note(func(int) { tr.going = b.name })
		do()
		tr.note(func(now int) { tr.gone[b.name], tr.going = now, "" })
	}
	gone(a, func() {
		tr.note(func(now int) { tr.killed["a"] = now })
		a.kill()
		tr.note(func(now int) { tr.killed["a"] = now })
	})
	steady("the death of a")
	a.start()
	first.await("a", "up")
	second.await("a", "up")
	steady("its return")

	first.set("b", "drain")
	tr.note(func(now int) { tr.closed["b"] = now })
	steady("a drain")
	tr.note(func(int) { tr.closed["b"] = 0 })
	first.set("b", "resume")
	gone(b, func() { first.set("b", "disable") })
	tr.note(func(now int) { tr.closed["b"], tr.off["b"] = now, now })
	steady("a disabling")
	tr.note(func(int) { tr.closed["b"], tr.off["b"] = 0, 0 })
	first.set("b", "resume")
	steady("a resuming")

	both := func(pools string) {
		t.Helper()
		for _, e := range []*trialEdge{first, second} {
			e.write(folder, pools)
			e.reload()
		}
	}
	both(config(map[*backend]int{a: 5, b: 1, c: 1}))
	steady("new weights")
	c.say("0")
	first.await("c", "draining")
	tr.note(func(now int) { tr.closed["c"] = now })
	steady("a weight of 0 in the answers to health checks")
	tr.note(func(int) { tr.closed["c"] = 0 })
	c.say("3")
	first.await("c", "up")
	second.await("c", "up")

	const extra = "  - name: extra\n    upstreams: [{url: \"http://%s\"}]\n"
	writeCertificate(t, filepath.Join(folder, "edge.crt"), filepath.Join(folder, "edge.key"), 2)
	both(config(even, fmt.Sprintf(extra, nginx), "  - {path: /extra/, pool: extra}\n"))
	if got := serial(t, first.address); got != 2 {
		t.Errorf("after the reload the certificate is number %d", got)
	}
	if status, _, err := first.try("GET", "/extra/x", nil, nil); err != nil || status != http.StatusNotFound || first.requests(`pool="extra"`) != 1 {
		t.Errorf("the added pool: status %d, %v", status, err)
	}
	steady("an added pool")
	gone(c, func() { both(config(map[*backend]int{a: 1, b: 1})) })
	tr.note(func(now int) { tr.closed["c"] = now })
	steady("the removal of a pool, a route and an upstream")
	tr.note(func(int) { tr.closed["c"] = 0 })
	both(config(even))
	for _, name := range []string{"a", "b", "c"} {
		second.await(name, "up")
	}
	steady("their return")

	first.process.signal(syscall.SIGTERM)
	steady("SIGTERM of the first edge")
	steady("the taking over")
	if first.process.ended() {
		t.Error("the first edge has left, with WebSockets open")
	}
	stopWork()
	requests.Wait()

	count := func(words ...string) int64 { return first.requests(words...) + second.requests(words...) }
	if first.requests(`pool="web"`, `status="2xx"`) == 0 || second.requests(`pool="web"`, `status="2xx"`) == 0 {
		t.Error("one of the edges has served nothing")
	}
	eventually(t, "clients and edges have the same counts", func() error {
		served, failed := count(`status="2xx"`), count(`status="5xx"`)
		if answered := tr.answered.Load(); served != answered || failed != tr.failed.Load() {
			return fmt.Errorf("clients: %d answered, %d failed; edges: %d and %d", answered, tr.failed.Load(), served, failed)
		}
		return nil
	})
	retries := int64(first.metric("streamspace_http_retries_total") + second.metric("streamspace_http_retries_total"))
	checkJournals(t, tr, retries, a, b, c)
	eventually(t, "clients and nginx have the same counts", func() error {
		text, err := os.ReadFile(nginxJournal)
		extra := int64(1) // the request to the added pool, which has no id
		if n := int64(strings.Count(string(text), "\n")) - extra; err == nil && n != tr.files.Load() {
			err = fmt.Errorf("clients: %d, nginx: %d", tr.files.Load(), n)
		}
		return err
	})

	closeSockets()
	sockets.Wait()
	if status := first.process.wait(); status != 0 {
		t.Errorf("the first edge leaves with status %d", status)
	}
	for _, e := range []*trialEdge{first, second} {
		if strings.Contains(e.process.output.String(), "a secret of the trial") {
			t.Error("an edge has logged the secret")
		}
	}
	deaths, rounds := 0, int64(0)
	for _, s := range all {
		deaths, rounds = deaths+s.deaths, rounds+s.rounds.Load()
	}
	if deaths == 0 {
		t.Error("no WebSocket was at the backend that was killed")
	}
	t.Logf("%d requests answered, %d POSTs died with their backend, %d retried by edges; %d echoes of 50 WebSockets, of which %d died with their backend",
		tr.answered.Load(), tr.failed.Load(), retries, rounds, deaths)
}

// checkJournals: backends have served each answered request, a POST once, and no
// more than edges and clients have sent.
func checkJournals(t *testing.T, tr *trial, retries int64, all ...*backend) {
	t.Helper()
	served := map[string]int{}
	sum := int64(0)
	for _, b := range all {
		for id, n := range b.served() {
			served[id] += n
			sum += int64(n)
		}
	}
	for id := range tr.pages {
		if served[id] == 0 {
			t.Errorf("request %s was answered and not served", id)
		}
	}
	for id := range tr.posts {
		if served[id] != 1 {
			t.Errorf("POST %s was served %d times", id, served[id])
		}
	}
	if most := int64(len(tr.pages)) + tr.failed.Load() + retries; sum > most {
		t.Errorf("backends served %d requests, clients and edges sent %d", sum, most)
	}
}
