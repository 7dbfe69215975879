package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hole carries TCP connections to an address until it is opened: then not a byte
// comes through, and nobody is told.
type hole struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	open  bool
	shut  chan struct{} // closed when the hole is not open
	conns []net.Conn
}

func startHole(t *testing.T, target string) *hole {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{listener: listener, target: target, shut: make(chan struct{})}
	close(h.shut)
	h.work.Go(h.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		h.set(false)
		h.mu.Lock()
		for _, conn := range h.conns {
			_ = conn.Close()
		}
		h.mu.Unlock()
		h.work.Wait()
	})
	return h
}

func (h *hole) address() string { return h.listener.Addr().String() }

func (h *hole) set(open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case open && !h.open:
		h.shut = make(chan struct{})
	case !open && h.open:
		close(h.shut)
	}
	h.open = open
}

func (h *hole) serve() {
	for {
		near, err := h.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", h.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		h.mu.Lock()
		h.conns = append(h.conns, near, far)
		h.mu.Unlock()
		h.work.Go(func() { h.carry(near, far) })
		h.work.Go(func() { h.carry(far, near) })
	}
}

func (h *hole) carry(from, to net.Conn) {
	defer to.Close()
	for part := make([]byte, 32<<10); ; {
		n, err := from.Read(part)
		h.mu.Lock()
		shut := h.shut
		h.mu.Unlock()
		<-shut
		if n > 0 {
			if _, err := to.Write(part[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// agentsOf counts the agents that have a VNC server of the session: by their
// marks, as a server has children of its name before they run what they are for.
func agentsOf(t *testing.T, id string) int {
	agents := map[string]bool{}
	for pid, command := range sessionProcesses(t, id) {
		if !strings.Contains(strings.Fields(command)[0], "Xtigervnc") {
			continue
		}
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)) // empty: it has ended
		for _, variable := range strings.Split(string(environment), "\x00") {
			if agent, is := strings.CutPrefix(variable, "STREAMSPACE_AGENT="); is {
				agents[agent] = true
			}
		}
	}
	return len(agents)
}

// sighted counts the agents that have sessions until it is told to stop.
type sighted struct {
	stop    chan struct{}
	done    chan struct{}
	most    map[string]int // by session
	samples int
}

func watchServers(t *testing.T, ids []string) *sighted {
	s := &sighted{stop: make(chan struct{}), done: make(chan struct{}), most: map[string]int{}}
	go func() {
		defer close(s.done)
		for {
			for _, id := range ids {
				s.most[id] = max(s.most[id], agentsOf(t, id))
			}
			s.samples++
			select {
			case <-s.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return s
}

// TestNoSessionRunsAtTwoPlaces: an agent that no edge hears of has ended its
// desktops when they are started elsewhere, whatever keeps it from the edges.
func TestNoSessionRunsAtTwoPlaces(t *testing.T) {
	const rescuer = "rescuer"
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "agents: {lost: restart, lost_after: 30s}")
	gap := startHole(t, strings.TrimPrefix(in.URL, "https://"))
	agent := func(name, edge string) *process {
		folder := filepath.Join(in.data, name)
		file := writeText(t, folder+".yml", fmt.Sprintf("edge: %q\nname: %s\ntoken_file: %q\ndata: %q\ncapacity: 1\nlabels: {kind: real}\nruntimes:\n%s\n",
			edge, name, filepath.Join(in.data, "edge", "join.token"), folder, processRuntime))
		return start(t, "agent", "--config", file)
	}
	lost := []struct {
		*process
		away, back func(*process)
	}{
		{agent("cut-off", "https://"+gap.address()), func(*process) { gap.set(true) }, func(*process) { gap.set(false) }},
		{agent("suspended", in.URL), func(p *process) { p.signal(syscall.SIGSTOP) }, func(p *process) { p.signal(syscall.SIGCONT) }},
		{agent("killed", in.URL), (*process).kill, func(*process) { agent("killed", in.URL) }},
	}
	t.Cleanup(func() { lost[1].signal(syscall.SIGCONT) })
	in.agentsOnline(1 + len(lost))
	var ids, before []string
	for range lost {
		s := in.running(map[string]any{"runtime": "desktop", "width": 320, "height": 200})
		ids, before = append(ids, s.ID), append(before, s.AgentID)
	}
	for range lost {
		agent(fmt.Sprintf("%s-%d", rescuer, len(before)), in.URL)
		before = append(before, "")
	}
	in.agentsOnline(1 + 2*len(lost))
	seen := watchServers(t, ids)
	for _, a := range lost {
		a.away(a.process)
	}
	for _, id := range ids {
		in.becomes(id, "unreachable")
	}
	var elsewhere []desktop
	for i, id := range ids {
		eventually(t, "session "+id+" is not waited for any more", func() error { // within lost_after, as long as any wait here
			var s desktop
			in.call("GET", "/api/v1/sessions/"+id, nil, http.StatusOK, &s)
			if s.State == "unreachable" {
				return errors.New("it is")
			}
			return nil
		})
		s := in.becomes(id, "running")
		if s.AgentID == before[i] {
			t.Errorf("session %s is on the lost agent", id)
		}
		elsewhere = append(elsewhere, s)
	}
	for _, a := range lost {
		a.back(a.process)
	}
	in.agentsOnline(1 + 2*len(lost))
	close(seen.stop)
	<-seen.done
	for i, id := range ids {
		if seen.most[id] != 1 || seen.samples < 100 {
			t.Errorf("session %s was at up to %d agents at once in %d looks, want 1 in some hundreds", id, seen.most[id], seen.samples)
		}
		if s := in.becomes(id, "running"); s.AgentID != elsewhere[i].AgentID || vncServers(t, id) != 1 {
			t.Errorf("session %s is on %s with %d VNC servers when its agent is back, want %s", id, s.AgentID, vncServers(t, id), elsewhere[i].AgentID)
		}
	}
}
