package api

import "testing"

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
	var reloaded struct{ Reloaded []string }
	w.want(200, w.call(admin, "POST", "/api/v1/reload", "")).json(&reloaded)
	if len(reloaded.Reloaded) != 1 {
		t.Errorf("%+v", reloaded)
	}
	w.want(403, w.call(alice, "POST", "/api/v1/reload", ""))
	w.want(403, w.call(alice, "GET", "/api/v1/pools", ""))
}
