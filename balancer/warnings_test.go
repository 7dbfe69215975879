package balancer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestWarningsAreBoundedAndTheRestIsCounted(t *testing.T) {
	var w warnings
	now := time.Unix(1_000_000, 0)
	for i := range mostWarnings + 3 {
		if got, want := w.may(now), i < mostWarnings; got != want {
			t.Errorf("%d: %v", i, got)
		}
	}
	if n := w.missed(now); n != 0 {
		t.Errorf("%d are told before the second is over", n)
	}
	now = now.Add(time.Second)
	if n, again := w.missed(now), w.missed(now); n != 3 || again != 0 {
		t.Errorf("%d and %d were missed, want 3 and 0", n, again)
	}
	if !w.may(now) {
		t.Error("the next second has no room")
	}
}

// TestARefusalsWarningTellsOfTheRequest: but not its query, nor a key in its path.
func TestARefusalsWarningTellsOfTheRequest(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	e := startEdge(t, onePool(func(p *PoolConfig) {
		p.Retry.Attempts = 3
		p.Upstreams = []UpstreamConfig{{ID: "u", URL: "http://127.0.0.1:1"}}
	}), func(o *Options) { o.Log = zap.New(core) })
	get(t, e.client(), e.url("/a/ssk_secret?token=secret"))
	eventually(t, "it is told", func() bool { return logs.FilterMessage("request refused").Len() == 1 })
	got := logs.FilterMessage("request refused").All()[0].ContextMap()
	for name, want := range map[string]string{
		"upstream": "u", "code": "upstream_failed", "detail": "the upstream can't be reached", "client": "127.0.0.1", "method": "GET", "path": "/a/[redacted]",
	} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("%s: %v, want %s", name, got[name], want)
		}
	}
	if strings.Contains(fmt.Sprint(got), "secret") {
		t.Error(got)
	}
}
