package api

import (
	"strings"
	"testing"
)

func TestNodesAreDrainedAndResumed(t *testing.T) {
	w := newWorld(t)
	for word, status := range map[string]string{"drain": "draining", "resume": "online"} {
		var n Node
		w.want(202, w.call(admin, "POST", "/api/v1/nodes/edge-1/"+word, "")).json(&n)
		var list struct{ Nodes []Node }
		w.want(200, w.call(admin, "GET", "/api/v1/nodes", "")).json(&list)
		if n.ID != "edge-1" || n.Status != status || n.Drained != (word == "drain") || len(list.Nodes) != 1 || list.Nodes[0] != n {
			t.Errorf("after %s: %+v, the list %+v", word, n, list.Nodes)
		}
		if lines := strings.Count(w.logs.String(), `"to":"`+status+`","key":"`); lines != 1 {
			t.Errorf("%d lines tell who has set it to %s", lines, status)
		}
		w.want(404, w.call(admin, "POST", "/api/v1/nodes/nope/"+word, ""))
		w.want(400, w.call(admin, "POST", "/api/v1/nodes/edge-1/"+word, `{"timeout":"5s"}`))
		for caller, refusal := range map[string]int{alice: 403, joiner: 403, nobody: 401, guesser: 401} {
			w.want(refusal, w.call(caller, "POST", "/api/v1/nodes/edge-1/"+word, ""))
		}
		if w.node != n {
			t.Errorf("somebody else has set the edge: %+v", w.node)
		}
	}
}
