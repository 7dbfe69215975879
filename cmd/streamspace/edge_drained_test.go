package main

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// loneEdge is an edge without others, on the database of its folder.
func loneEdge(t *testing.T, folder string) *edge {
	t.Helper()
	config := defaultEdgeConfig()
	config.TLS.Off = true
	config.Listen = listenConfig{HTTP: "127.0.0.1:0"}
	config.Store.SQLite.Path = filepath.Join(folder, "s.db")
	config.Node.ID = "edge-1"
	config.Drain.Timeout = duration(time.Second)
	e, err := openEdge(t.Context(), config, zap.NewNop(), newProcessors())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// running serves until the test has done its work.
func (e *edge) running(t *testing.T, work func()) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- e.serve(ctx) }()
	defer func() {
		leave()
		if err := <-left; err != nil {
			t.Error(err)
		}
	}()
	work()
}

// wantAside waits until the edge is as it should be, for viewers, for load
// balancers and for who asks for the nodes.
func (e *edge) wantAside(t *testing.T, aside bool) {
	t.Helper()
	status, words := http.StatusOK, "online"
	if aside {
		status, words = http.StatusServiceUnavailable, "draining"
	}
	deadline := time.Now().Add(time.Minute)
	for {
		refused := e.viewers.HasRoom(proxy.Grant{Session: "s"}) != nil
		nodes, err := e.nodes(t.Context())
		if err != nil || len(nodes) != 1 {
			t.Fatalf("nodes %v, %v", nodes, err)
		}
		health := e.health(t.Context()).HTTPStatus()
		if refused == aside && health == status && nodes[0].Status == words && nodes[0].Drained == aside {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("viewers are refused: %v, health %d, nodes %+v", refused, health, nodes)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestADrainOutlivesTheProcess, and is taken back at once also while viewers are
// handed over.
func TestADrainOutlivesTheProcess(t *testing.T) {
	folder := t.TempDir()
	set := func(e *edge, change func(context.Context, string) (api.Node, error), drained bool) {
		t.Helper()
		if n, err := change(t.Context(), "edge-1"); err != nil || n.ID != "edge-1" || n.Drained != drained {
			t.Fatalf("%+v, %v", n, err)
		}
		e.wantAside(t, drained)
	}
	e := loneEdge(t, folder)
	e.running(t, func() {
		e.wantAside(t, false)
		changes := e.coord.Subscribe(t.Context())
		for range 3 {
			set(e, e.drainNode, true)
			set(e, e.drainNode, true) // changes nothing
			set(e, e.resumeNode, false)
			set(e, e.resumeNode, false)
			for _, want := range []string{"draining", "online"} {
				if c := <-changes; c.Type != "node" || c.ID != "edge-1" || c.State != want {
					t.Errorf("the event %+v, want %s", c, want)
				}
			}
		}
		for _, change := range []func(context.Context, string) (api.Node, error){e.drainNode, e.resumeNode} {
			if _, err := change(t.Context(), "edge-2"); store.CodeOf(err) != store.NotFound {
				t.Errorf("an edge that nobody knows: %v", err)
			}
		}
		set(e, e.drainNode, true)
	})

	e = loneEdge(t, folder)
	if !e.standsAside() || e.viewers.HasRoom(proxy.Grant{Session: "s"}) == nil {
		t.Error("it takes viewers before it serves")
	}
	e.running(t, func() {
		e.wantAside(t, true)
		set(e, e.resumeNode, false)
		// One that was drained and is gone can be resumed, once.
		if _, err := e.store.SetNodeDrained(t.Context(), "edge-9", true); err != nil {
			t.Fatal(err)
		}
		if err := e.readDrains(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := e.resumeNode(t.Context(), "edge-9"); err != nil || n.ID != "edge-9" || n.Drained {
			t.Errorf("%+v, %v", n, err)
		}
		if _, err := e.resumeNode(t.Context(), "edge-9"); store.CodeOf(err) != store.NotFound {
			t.Errorf("%v", err)
		}
	})
}
