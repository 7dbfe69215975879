package auth

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// A client address may send failureBurst wrong keys at once and one more every
// failureEvery, to all edges together. Keys can't be guessed; this keeps guessing
// from costing the database a look-up each.
const (
	failureBurst = 20
	failureEvery = 3 * time.Second
)

// failures counts wrong keys by client address; an IPv6 client owns its /64.
type failures struct{ coord store.Coord }

func failuresOf(from netip.Prefix) (bucket string, r store.Rate) {
	return "wrong-keys/" + from.String(), store.Rate{Count: 1, Per: failureEvery, Burst: failureBurst}
}

// blocked lets through while nobody can count.
func (f failures) blocked(ctx context.Context, from netip.Prefix) bool {
	bucket, r := failuresOf(from)
	left, err := f.coord.Look(ctx, bucket, r)
	return err == nil && !left.OK
}

func (f failures) count(ctx context.Context, from netip.Prefix) {
	bucket, r := failuresOf(from)
	_, _ = f.coord.Take(ctx, bucket, r) // what can't be counted is let through
}

func clientAddress(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return store.ClientNetwork(peer.Addr().Unmap())
}
