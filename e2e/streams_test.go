package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
	p.serves(filepath.Join(p.data, "edge"))
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

// offer starts the agent anew with these runtimes.
func (p *edgeAndAgent) offer(runtimes string) {
	p.t.Helper()
	p.agent.stop()
	config, err := os.ReadFile(p.agentFile)
	if err != nil {
		p.t.Fatal(err)
	}
	rest, _, _ := strings.Cut(string(config), "\nruntimes:")
	writeText(p.t, p.agentFile, rest+"\nruntimes:\n"+runtimes)
	p.startAgent()
}

func staticRuntime(address string) string {
	return fmt.Sprintf("  - {name: consoles, type: static, endpoints: [{name: one, address: %q}]}", address)
}

// maxHeld is more than socket buffers between a VNC server and a viewer that
// reads nothing hold, in bytes: three connections of at most 10 MiB (Linux, by
// default 6 for what came and 4 for what goes).
const maxHeld = 48 << 20

// TestTwentyViewersOfOneSessionEachGetTheirOwnStream is the fault of a shared
// queue: over an agent and over a direct session, while one viewer reads
// nothing, 20 others at once read long random streams that must be theirs byte
// for byte. The one that reads nothing holds up only itself: TCP stops its
// server, edge and agent do not grow, and what it has not read is still there.
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

			quiet := in.mustView(ctx, id)
			if err := verify(quiet, 500, size); err != nil {
				t.Fatal(err)
			}
			alone := median(echoes(t, []net.Conn{quiet}, 50))
			before := in.peakMemory()
			stalled := in.mustView(ctx, id)
			if err := sayHello(stalled, endless); err != nil {
				t.Fatal(err)
			}
			server.settled(t, endless)

			var viewers sync.WaitGroup
			failures := make(chan error, 20)
			for seed := uint64(1); seed <= 20; seed++ {
				conn := in.mustView(ctx, id)
				viewers.Go(func() {
					err := verify(conn, seed, size)
					if err == nil {
						err = conn.Close()
					}
					if err != nil {
						failures <- err
					}
				})
			}
			viewers.Wait()
			close(failures)
			for err := range failures {
				t.Error(err)
			}
			beside := median(echoes(t, []net.Conn{quiet}, 50))

			held := server.settled(t, endless)
			// 21 streams may hold a buffer of 128 KiB each in edge and agent, which
			// the collector may let become as much again; the rest is room for the
			// runtime.
			grown := in.peakMemory() - before
			if grown > memoryFactor*64<<20 {
				t.Errorf("edge and agent have grown by %d MiB for 21 viewers that were sent %d MiB", grown>>20, 20*size>>20)
			}
			t.Logf("median echo: %s alone, %s beside a viewer that reads nothing (%.2f times) and holds %d KiB in socket buffers; edge and agent have grown by %d KiB",
				alone, beside, float64(beside)/float64(alone), held>>10, grown>>10)
			eventually(t, "the quiet and the stalled viewer are left", func() error {
				if n := in.becomes(id, "running").Viewers; n != 2 {
					return fmt.Errorf("there are %d viewers", n)
				}
				return nil
			})
			if err := readRest(stalled, endless, held); err != nil {
				t.Errorf("what the stalled viewer had not read: %v", err)
			}
		})
	}
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// settled waits until the server can send no more to that stream, and returns
// how much it could.
func (s *randomServer) settled(t *testing.T, seed uint64) int64 {
	t.Helper()
	last, same := int64(-1), 0
	eventually(t, "the stalled stream stands still", func() error {
		now := s.sent(seed)
		if now > maxHeld {
			t.Fatalf("the server could send %d bytes to a viewer that reads nothing", now)
		}
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

// TestStalledViewerLosesNoByte is the fault of frames that were dropped
// silently: a viewer that stops reading and goes on later gets every byte.
func TestStalledViewerLosesNoByte(t *testing.T) {
	const size = maxHeld
	server := startRandomServer(t, size)
	in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "")
	id := in.running(nil).ID
	conn := in.mustView(testContext(t), id)
	if err := sayHello(conn, 7); err != nil {
		t.Fatal(err)
	}
	if server.settled(t, 7) == size {
		t.Fatal("the viewer never stalled")
	}
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
	before := in.settledFootprint()
	for range 5 {
		visit()
	}
	in.nothingLeft(before)
	eventually(t, "no viewer is counted", func() error { // the last is, until its end is in the log
		if active := in.metric("streamspace_vnc_connections_active"); active != 0 {
			return fmt.Errorf("streamspace_vnc_connections_active is %g", active)
		}
		return nil
	})
}
