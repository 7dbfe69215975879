package balancer

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
)

// TestWhatAnyClientCanHaveIsNoFailure: a method that the upstream does not know
// says nothing of it; nor does it hide failures.
func TestWhatAnyClientCanHaveIsNoFailure(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.WriteHeader(status)
	})
	for name, c := range map[string]struct {
		statuses []int
		want     string
	}{
		"not implemented":         {[]int{501, 501, 501, 501}, "up"},
		"version not supported":   {[]int{505, 505, 505, 505}, "up"},
		"failures between others": {[]int{500, 501, 505, 500}, "ejected"},
		"failures":                {[]int{500, 503}, "ejected"},
		"a good one between":      {[]int{500, 200, 500}, "up"},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t, onePool(func(p *PoolConfig) { p.Passive = PassiveConfig{Failures: 2, MaxOut: 1} }, s))
			for _, want := range c.statuses {
				if response, _ := get(t, e.client(), e.url(fmt.Sprint("/", want))); response.StatusCode != want {
					t.Fatal(response.Status)
				}
			}
			if got := e.Pools()[0].Upstreams[0].State; got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
		})
	}
}
