package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	termGrace   = 2 * time.Second // for the desktop's programs, while they still have their display
	serverGrace = time.Second     // then for the VNC server
	keeperGrace = 3 * time.Second // then for the keeper, which ends by itself; a forged one does not
	endLimit    = 10 * time.Second
)

// tree is the processes of one session: its keeper and all that is below it,
// which nothing leaves, whatever it does. The keeper carries the session's mark
// in its environment.
//
// Where the keeper was killed, or an agent of before there were keepers started
// the session, these are what can be found: the VNC server and desktop program,
// those that carry the mark, those that are in the session (setsid(2)) of one of
// these, and the descendants of all of these. Once seen a process stays in, so
// one that loses its parent then is not lost. There a daemon escapes that drops
// its environment and lost its parent before the first look, which is when the
// session is ended.
type tree struct {
	mark     []byte          // of the session, in a process's environment
	agent    []byte          // who has the mark of another agent is that one's; nil: nobody is
	sessions map[int]process // session ids of setsid(2), with the process that made each
	known    map[process]bool
	foreign  map[process]bool // looked at, without the mark
	keepers  map[process]bool // at the last look: the keeper; several only where somebody forged it
}

// newTree is the session's tree at the agent of that id: another one on this host
// may have the session by now. It takes the processes that the agent itself
// started, each the leader of a session of its own. Leaders that have ended count too: their session's id
// stays taken while processes are in it.
func newTree(session, agent string, leaders ...process) *tree {
	t := &tree{
		mark:     []byte(sessionVariable + "=" + session),
		agent:    []byte(agent),
		sessions: map[int]process{},
		known:    map[process]bool{},
		foreign:  map[process]bool{},
		keepers:  map[process]bool{},
	}
	for _, p := range leaders {
		t.known[p] = true
		t.sessions[p.PID] = p
	}
	return t
}

// members are the tree's processes that run now.
func (t *tree) members() ([]process, error) {
	all, err := listProcesses()
	if err != nil {
		return nil, err
	}
	byPID := make(map[int]process, len(all))
	for _, s := range all {
		byPID[s.pid] = s.process()
	}
	// A leader's pid that belongs to another process now says nothing more.
	for id, leader := range t.sessions {
		if now, taken := byPID[id]; taken && now != leader {
			delete(t.sessions, id)
		}
	}
	var found []stat
	for grown := true; grown; {
		grown = false
		all = slices.DeleteFunc(all, func(s stat) bool {
			if s.pid == os.Getpid() { // an agent that was started inside a session
				return true
			}
			if !t.has(s, byPID) {
				return false
			}
			t.known[s.process()] = true
			t.sessions[s.session] = byPID[s.session] // zero when the leader has ended
			found = append(found, s)
			grown = true
			return true
		})
	}
	clear(t.keepers)
	members := make([]process, len(found))
	for i, s := range found {
		members[i] = s.process()
		// What is below a keeper is none, whatever its environment says.
		if !t.known[byPID[s.parent]] && slices.ContainsFunc(members[i].environment(), isKeeperMark) {
			t.keepers[members[i]] = true
		}
	}
	return members, nil
}

func isKeeperMark(variable []byte) bool {
	return bytes.HasPrefix(variable, []byte(keeperVariable+"="))
}

func (t *tree) has(s stat, byPID map[int]process) bool {
	p := s.process()
	if t.known[p] {
		return true
	}
	if parent, found := byPID[s.parent]; found && t.known[parent] {
		return true
	}
	if _, found := t.sessions[s.session]; found {
		return true
	}
	if t.foreign[p] {
		return false
	}
	if t.marked(p.environment()) {
		return true
	}
	t.foreign[p] = true
	return false
}

// marked tells whether a process with that environment is the session's, and not
// another agent's.
func (t *tree) marked(environment [][]byte) (ours bool) {
	for _, variable := range environment {
		switch name, value, _ := bytes.Cut(variable, []byte("=")); {
		case bytes.Equal(variable, t.mark):
			ours = true
		case t.agent != nil && string(name) == agentVariable && len(value) > 0 && !bytes.Equal(value, t.agent):
			return false
		}
	}
	return ours
}

// end ends every process of the tree: first the programs are asked, then made
// to, then the server; the keeper ends by itself when nothing is below it. It
// returns when none is left, at once when there was none, or fails after
// endLimit or with ctx, and names those that are left.
func (t *tree) end(ctx context.Context, server *process) error {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	began := time.Now()
	var askServer, keeperAlone time.Time
	asked := map[process]bool{}
	var failed error
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		members, err := t.members()
		if err != nil {
			return err
		}
		if len(members) == 0 {
			return nil
		}
		failed = nil
		below := len(members) - len(t.keepers)
		alone := below == 1 && server != nil && slices.Contains(members, *server)
		if askServer.IsZero() && (alone || time.Since(began) > termGrace) {
			askServer = time.Now()
		}
		if below > 0 {
			keeperAlone = time.Time{}
		} else if keeperAlone.IsZero() {
			keeperAlone = time.Now()
		}
		for _, p := range members {
			isServer := server != nil && p == *server
			switch {
			case t.keepers[p] && below > 0:
			case t.keepers[p] && time.Since(keeperAlone) <= keeperGrace:
				failed = errors.Join(failed, p.signal(unix.SIGCONT)) // somebody may have stopped it
			case t.keepers[p]:
				failed = errors.Join(failed, p.signal(unix.SIGKILL))
			case isServer && askServer.IsZero():
			case isServer && time.Since(askServer) > serverGrace, !isServer && time.Since(began) > termGrace:
				failed = errors.Join(failed, p.signal(unix.SIGKILL))
			case !asked[p]:
				asked[p] = true
				failed = errors.Join(failed, p.signal(unix.SIGTERM))
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("processes %v can't be ended: %w", pids(members), errors.Join(failed, ctx.Err()))
		}
	}
}

func pids(all []process) []int {
	ids := make([]int, len(all))
	for i, p := range all {
		ids[i] = p.PID
	}
	slices.Sort(ids)
	return ids
}
