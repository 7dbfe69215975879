//go:build !race

// With the race detector a sync.Pool, crypto/tls's among them, drops what it is
// given now and then, and so allocates.

package proxy

import "testing"

func TestAnUpdateAllocatesNothing(t *testing.T) {
	for name, options := range map[string][]edgeOption{"plain": nil, "tls": {withTLS}} {
		t.Run(name, func(t *testing.T) {
			next := updates(t, options...)
			if n := testing.AllocsPerRun(100, next); n != 0 {
				t.Errorf("%v allocations an update", n)
			}
		})
	}
}
