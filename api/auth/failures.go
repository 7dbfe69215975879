package auth

import (
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// A client address may send failureBurst wrong keys at once and one more every
// failureEvery. Keys can't be guessed; this keeps guessing from costing the
// database a look-up each.
const (
	failureBurst = 20
	failureEvery = 3 * time.Second
	maxAddresses = 10_000
)

// failures counts wrong keys by client address; an IPv6 client owns its /64.
type failures struct {
	mu        sync.Mutex
	byAddress map[netip.Prefix]*rate.Limiter
}

func newFailures() *failures { return &failures{byAddress: map[netip.Prefix]*rate.Limiter{}} }

func (f *failures) blocked(from netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.byAddress[from]
	return l != nil && l.Tokens() < 1
}

func (f *failures) count(from netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.byAddress[from]
	if l == nil {
		f.makeRoom()
		l = rate.NewLimiter(rate.Every(failureEvery), failureBurst)
		f.byAddress[from] = l
	}
	l.Allow()
}

// makeRoom forgets addresses that behave again, or any one when none does.
func (f *failures) makeRoom() {
	if len(f.byAddress) < maxAddresses {
		return
	}
	maps.DeleteFunc(f.byAddress, func(_ netip.Prefix, l *rate.Limiter) bool { return l.Tokens() >= failureBurst })
	for address := range f.byAddress {
		if len(f.byAddress) < maxAddresses {
			return
		}
		delete(f.byAddress, address)
	}
}

func clientAddress(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return store.ClientNetwork(peer.Addr().Unmap())
}
