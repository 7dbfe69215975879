package api

import (
	"strings"
	"testing"
	"time"
)

func TestUpstreamsAreDrainedResumedDisabled(t *testing.T) {
	w := newWorld(t)
	var pools struct{ Pools []Pool }
	w.want(200, w.call(admin, "GET", "/api/v1/pools", "")).json(&pools)
	if len(pools.Pools) != 1 || len(pools.Pools[0].Upstreams) != 1 {
		t.Fatalf("%+v", pools)
	}
	const upstream = "/api/v1/pools/web/upstreams/10.0.0.21:8080"
	for word, state := range map[string]string{"drain": "draining", "resume": "up", "disable": "disabled"} {
		var u Upstream
		w.want(202, w.call(admin, "POST", upstream+"/"+word, "")).json(&u)
		if u.State != state {
			t.Errorf("after %s: %+v", word, u)
		}
		w.want(404, w.call(admin, "POST", "/api/v1/pools/nope/upstreams/x/"+word, ""))
		w.want(403, w.call(alice, "POST", upstream+"/"+word, ""))
	}
	for _, word := range []string{"draining", "enabled", "disabled"} {
		if n := strings.Count(w.logs.String(), `"to":"`+word+`","key":"`); n != 1 {
			t.Errorf("%d lines tell who has set it to %s", n, word)
		}
	}
	var reloaded struct{ Reloaded []string }
	w.want(200, w.call(admin, "POST", "/api/v1/reload", "")).json(&reloaded)
	if len(reloaded.Reloaded) != 1 {
		t.Errorf("%+v", reloaded)
	}
	w.want(403, w.call(alice, "POST", "/api/v1/reload", ""))
	w.want(403, w.call(alice, "GET", "/api/v1/pools", ""))
}

// TestOnePoolIsTold, and of one that is not there which ones are.
func TestOnePoolIsTold(t *testing.T) {
	w := newWorld(t)
	var pool Pool
	w.want(200, w.call(admin, "GET", "/api/v1/pools/web", "")).json(&pool)
	if pool.Name != "web" || len(pool.Upstreams) != 1 {
		t.Errorf("%+v", pool)
	}
	missing := w.want(404, w.call(admin, "GET", "/api/v1/pools/wbe", "")).problem()
	if missing.Detail != `there is no pool "wbe"; there are: web` {
		t.Errorf("%+v", missing)
	}
	w.want(403, w.call(alice, "GET", "/api/v1/pools/web", ""))
}

// TestADrainMayHaveATimeout, and nothing else of a body is passed over.
func TestADrainMayHaveATimeout(t *testing.T) {
	w := newWorld(t)
	const upstream = "/api/v1/pools/web/upstreams/10.0.0.21:8080"
	for body, timeout := range map[string]time.Duration{"": 0, "{}": 0, `{"timeout": "5m"}`: 5 * time.Minute, `{"timeout": 90}`: 90 * time.Second} {
		var u Upstream
		before := time.Now()
		w.want(202, w.call(admin, "POST", upstream+"/drain", body)).json(&u)
		switch {
		case timeout == 0 && u.DrainEnds != nil:
			t.Errorf("%s: ends at %s", body, u.DrainEnds)
		case timeout > 0 && (u.DrainEnds == nil || u.DrainEnds.Before(before.Add(timeout)) || u.DrainEnds.After(time.Now().Add(timeout))):
			t.Errorf("%s: ends at %v", body, u.DrainEnds)
		}
	}
	for body, word := range map[string]string{
		`{"timeout": "0s"}`: "drain", `{"timeout": "721h"}`: "drain", `{"timeout": "-5s"}`: "drain", `{"timeout": "soon"}`: "drain", `{"timeout": null}`: "drain",
		`{"deadline": "5s"}`: "drain", `[]`: "drain", `{"timeout": "6s"}`: "resume", `{"timeout": "7s"}`: "disable",
	} {
		w.want(400, w.call(admin, "POST", upstream+"/"+word, body))
	}
}
