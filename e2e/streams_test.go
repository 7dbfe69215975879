package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// edgeAndAgent runs an edge and an agent with a static runtime as two
// processes, configured by files as on two hosts.
type edgeAndAgent struct {
	*installation
	agent      *process
	edgeConfig string
	agentFile  string
}

func startEdgeAndAgent(t *testing.T, runtimes string, edgeExtra string) *edgeAndAgent {
	t.Helper()
	folder := t.TempDir()
	address, admin := freePort(t), freePort(t)
	pair := &edgeAndAgent{
		edgeConfig: writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(`
listen: {https: %q, http: "", admin: %q}
tls: {self_signed: true}
node: {id: edge-1}
store: {sqlite: {path: %q}}
drain: {timeout: 5s}
%s`, address, admin, filepath.Join(folder, "edge", "streamspace.db"), edgeExtra)),
		agentFile: writeText(t, filepath.Join(folder, "agent.yml"), fmt.Sprintf(`
edge: %q
name: desk-1
token_file: %q
data: %q
runtimes:
%s`, "https://"+address, filepath.Join(folder, "edge", "join.token"), filepath.Join(folder, "agent"), runtimes)),
	}
	pair.installation = &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, data: folder}
	t.Cleanup(func() { endLeftovers(t, folder) }) // runs when edge and agent have ended
	pair.startEdge()
	pair.startAgent()
	return pair
}

func (p *edgeAndAgent) startEdge() {
	p.t.Helper()
	p.process = start(p.t, "edge", "--config", p.edgeConfig)
	eventually(p.t, "the edge serves", p.healthy)
	key, err := os.ReadFile(filepath.Join(p.data, "edge", "admin.key"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.APIKey = strings.TrimSpace(string(key))
}

func (p *edgeAndAgent) startAgent() {
	p.t.Helper()
	p.agent = start(p.t, "agent", "--config", p.agentFile)
	eventually(p.t, "the agent is online", func() error {
		if p.agent.ended() {
			p.t.Fatalf("the agent ended with status %d:\n%s", p.agent.status, p.agent.output)
		}
		return p.online(1)
	})
}

func staticRuntime(address string) string {
	return fmt.Sprintf("  - {name: consoles, type: static, endpoints: [{name: one, address: %q}]}", address)
}

// TestTwentyViewersOfOneSessionEachGetTheirOwnStream is the fault of a shared
// queue: over an agent and over a direct session, 20 viewers at once read long
// random streams that must be theirs byte for byte, while one more viewer that
// reads nothing holds up only itself.
func TestTwentyViewersOfOneSessionEachGetTheirOwnStream(t *testing.T) {
	for _, way := range []string{"agent", "direct"} {
		t.Run(way, func(t *testing.T) {
			const size = 8 << 20
			server := startRandomServer(t, size)
			in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "direct: {allow: [\"127.0.0.0/8:1-65535\"]}")
			body := map[string]any{}
			if way == "direct" {
				body["endpoint"] = server.Addr().String()
			}
			id := in.running(body).ID
			ctx := testContext(t)

			quiet := echoTimes(t, in.mustView(ctx, id), 500, size)
			before := in.resident()

			// One viewer that reads nothing: its server is stopped by TCP after the
			// socket buffers, the edge's memory does not grow with it, and the others
			// neither wait nor lose a byte.
			stalled := in.mustView(ctx, id)
			if err := sayHello(stalled, endless); err != nil {
				t.Fatal(err)
			}
			held := server.settled(t, endless)
			var viewers sync.WaitGroup
			failures := make(chan error, 20)
			for seed := uint64(1); seed <= 20; seed++ {
				conn := in.mustView(ctx, id)
				viewers.Go(func() {
					if err := verify(conn, seed, size); err != nil {
						failures <- err
					}
				})
			}
			viewers.Wait()
			close(failures)
			for err := range failures {
				t.Error(err)
			}
			// 21 streams may hold a buffer of 128 KiB each, which the collector
			// may let become as much again; the rest is room for the runtime.
			if grown := in.resident() - before; grown > memoryFactor*64<<20 {
				t.Errorf("the edge has grown by %d MiB for 21 viewers that were sent %d MiB", grown>>20, 20*size>>20)
			}
			beside := echoTimes(t, in.mustView(ctx, id), 501, size)
			t.Logf("median echo: %s alone, %s beside a stalled viewer that holds %d KiB in socket buffers", quiet, beside, held>>10)
			if in.metric("streamspace_vnc_connections_active") < 1 {
				t.Error("the stalled viewer is not counted as active")
			}
		})
	}
}

// settled waits until the server can send no more to that stream.
func (s *randomServer) settled(t *testing.T, seed uint64) int64 {
	t.Helper()
	last, same := int64(-1), 0
	eventually(t, "the stalled stream stands still", func() error {
		now := s.sent(seed)
		if now == last && now > 0 {
			same++
		} else {
			last, same = now, 0
		}
		if same < 25 { // half a second without a byte
			return fmt.Errorf("%d bytes went into it", now)
		}
		return nil
	})
	return last
}

// echoTimes verifies a stream, then measures the round trip of small messages
// through it. The figure is told, never judged: machines differ.
func echoTimes(t *testing.T, conn net.Conn, seed uint64, size int64) time.Duration {
	t.Helper()
	if err := verify(conn, seed, size); err != nil {
		t.Fatal(err)
	}
	times := make([]time.Duration, 200)
	for i := range times {
		began := time.Now()
		if err := echo(conn, fmt.Appendf(nil, "key press %d", i)); err != nil {
			t.Fatal(err)
		}
		times[i] = time.Since(began)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[len(times)/2]
}

// TestStalledViewerLosesNoByte is the fault of frames that were dropped
// silently: a viewer that stops reading and goes on later gets every byte.
func TestStalledViewerLosesNoByte(t *testing.T) {
	const size = 24 << 20
	server := startRandomServer(t, size)
	in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "")
	id := in.running(nil).ID
	conn := in.mustView(testContext(t), id)
	if err := sayHello(conn, 7); err != nil {
		t.Fatal(err)
	}
	server.settled(t, 7)
	if err := readRest(conn, 7, size); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsLeftWhenViewersLeave is the fault of relays that leaked.
func TestNothingIsLeftWhenViewersLeave(t *testing.T) {
	server := startRandomServer(t, 1<<20)
	in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "")
	id := in.running(nil).ID
	// A program that is watched for data races takes long to say farewell to
	// viewers that leave amid a flood.
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	visit := func() {
		conns := make([]net.Conn, 10)
		for i := range conns {
			conns[i] = in.mustView(ctx, id)
			if err := sayHello(conns[i], endless); err != nil { // it is still sending when the viewer goes
				t.Fatal(err)
			}
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
		eventually(t, "the VNC server has no connection left", func() error {
			if n := server.connections(); n > 0 {
				return fmt.Errorf("%d are open", n)
			}
			return nil
		})
	}
	visit()
	before := in.footprint()
	for range 5 {
		visit()
	}
	eventually(t, "descriptors and goroutines are as before", func() error {
		now := in.footprint()
		if now.files > before.files+databaseFiles || now.goroutines > before.goroutines+4 || now.agentFiles > before.agentFiles+2 {
			return fmt.Errorf("before %+v, now %+v", before, now)
		}
		return nil
	})
	if active := in.metric("streamspace_vnc_connections_active"); active != 0 {
		t.Errorf("streamspace_vnc_connections_active is %g with nobody watching", active)
	}
}
