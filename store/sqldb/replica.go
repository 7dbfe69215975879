package sqldb

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	// measureEvery is how often the lag is measured where the bound is long;
	// else it is measured four times within the bound.
	measureEvery = 250 * time.Millisecond
	// unknownLag is that of a replica of which nothing is known.
	unknownLag = time.Duration(math.MaxInt64)
	// maxSamples bounds the primary's positions that the replica has not reached:
	// with measureEvery the last 4 minutes.
	maxSamples = 1024
	// catchUp is how long a read waits for the replica to have what it must see: a
	// standby that keeps up is some milliseconds behind. One that has not done so
	// is not waited for again until restAfter is over.
	catchUp   = 10 * time.Millisecond
	restAfter = 20 * catchUp
	// replicaTimeout is how long a read waits for a replica before the primary
	// gets it.
	replicaTimeout = time.Second
)

// replica answers reads that need not go to the primary. It does where it is
// known to have all that any edge had written when the read came: so a client
// sees what it has written, wherever it asks next.
//
// That is known by positions in the write-ahead log and this edge's clock: the
// edge asks the primary where its log ends and remembers when it asked, and
// asks the replica how far it has replayed. The replica has all that the primary
// had at the newest remembered moment whose position it has reached. Reads that
// come together share one such question.
// pg_last_xact_replay_timestamp would compare the clocks of two hosts, grow
// while nobody writes, and not grow by itself while the replica is cut off from
// a primary that goes on.
type replica struct {
	pool, primary *pgPool
	maxLag        time.Duration
	asked         chan struct{} // a read wants a measurement; holds one

	mu       sync.Mutex
	samples  []sample      // of the primary that the replica has not reached, oldest first
	covered  time.Time     // what was written before this is on the replica; zero: nothing is known
	measured chan struct{} // closed by the end of the measurement that runs, or is the next
	rests    time.Time     // no read waits for the replica until then

	stop context.CancelFunc
	done chan struct{}
}

// sample is the end of the primary's log at a moment.
type sample struct {
	at       time.Time // before it was asked
	timeline int64
	position int64
}

func newReplica(pool, primary *pgPool, maxLag time.Duration) *replica {
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{
		pool: pool, primary: primary, maxLag: maxLag, asked: make(chan struct{}, 1), measured: make(chan struct{}),
		stop: stop, done: make(chan struct{}),
	}
	go r.measure(ctx)
	return r
}

// close ends the measuring and waits for it.
func (r *replica) close() {
	r.stop()
	<-r.done
}

func (r *replica) measure(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(min(measureEvery, r.maxLag/4))
	defer tick.Stop()
	for {
		r.look(ctx)
		r.mu.Lock()
		close(r.measured)
		r.measured = make(chan struct{})
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.asked:
		}
	}
}

// The first 8 digits of a log file's name are the timeline. A standby may not
// ask for that; it learns of a new timeline with a restart point, or when it
// writes pages out, so that after a failover the replica serves again a while
// later.
const (
	primaryPosition = `SELECT ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint,
		(pg_current_wal_flush_lsn() - '0/0')::bigint`
	replicaPosition = `SELECT GREATEST((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery()))::bigint,
		(pg_last_wal_replay_lsn() - '0/0')::bigint WHERE pg_is_in_recovery()`
)

// look measures once. What fails teaches nothing, and the lag grows.
func (r *replica) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	position := func(s *sample) []any { return []any{&s.timeline, &s.position} }
	at := time.Now()
	if end, err := one(ctx, r.primary, nil, position, primaryPosition); err == nil {
		end.at = at
		r.mu.Lock()
		r.samples = append(r.samples, *end)
		r.samples = r.samples[max(0, len(r.samples)-maxSamples):]
		r.mu.Unlock()
	}
	noReplica := store.Errorf(store.Unavailable, "the replica is no standby")
	replayed, err := one(ctx, r.pool, noReplica, position, replicaPosition)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replayed(*replayed)
}

// replayed notes how far the replica is. r.mu is held.
func (r *replica) replayed(to sample) {
	for i := len(r.samples) - 1; i >= 0; i-- {
		if s := r.samples[i]; s.timeline == to.timeline && s.position <= to.position {
			r.covered = s.at
			r.samples = slices.Delete(r.samples, 0, i+1)
			break
		}
	}
}

// lag is how far the replica may be behind the primary.
func (r *replica) lag(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.covered.IsZero() {
		return unknownLag
	}
	return now.Sub(r.covered)
}

// serves tells whether the replica has all that was written before it was asked.
// It waits for that a moment where the replica is near enough.
func (r *replica) serves(ctx context.Context) bool {
	now := time.Now()
	patience := time.NewTimer(catchUp)
	defer patience.Stop()
	for {
		r.mu.Lock()
		covered, measured, rests := r.covered, r.measured, r.rests
		r.mu.Unlock()
		switch {
		case covered.After(now):
			return true
		case now.Sub(covered) > r.maxLag, now.Before(rests):
			return false
		}
		select {
		case r.asked <- struct{}{}:
		default:
		}
		select {
		case <-measured:
		case <-ctx.Done():
			return false
		case <-patience.C:
			r.mu.Lock()
			r.rests = time.Now().Add(restAfter)
			r.mu.Unlock()
			return false
		}
	}
}

// query asks the replica, and the primary when the replica fails.
func (r *replica) query(ctx context.Context, read func(rows) error, text string, args ...any) error {
	err := pgReads{r.pool}.query(ctx, read, text, args...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return pgReads{r.primary}.query(ctx, read, text, args...)
}

// nearby is what may answer a read with ctx.
func (db *DB) nearby(ctx context.Context) querier {
	if db.replica != nil && store.LagAllowed(ctx) && db.replica.serves(ctx) {
		return db.replica
	}
	return db.reader
}
