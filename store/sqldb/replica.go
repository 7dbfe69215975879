package sqldb

import (
	"context"
	"math"
	"strings"
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
	// maxSamples of the primary's position are kept, which with measureEvery is
	// the last 16 s: a replica further behind serves nobody.
	maxSamples = 64
	// maxWritten bounds how many writes are remembered each on its own.
	maxWritten = 10_000
	// replicaTimeout is how long a read waits for a replica before the primary
	// gets it.
	replicaTimeout = time.Second
)

// replica answers reads that may lag, while it is known to lag little enough
// and to have what this edge wrote.
//
// The lag is measured by positions in the write-ahead log and this edge's clock:
// the edge asks the primary where its log ends and remembers when it asked, and
// asks the replica how far it has replayed. The replica has all that the primary
// had at the newest remembered moment whose position it has reached.
// pg_last_xact_replay_timestamp would compare the clocks of two hosts, grow
// while nobody writes, and not grow by itself while the replica is cut off from
// a primary that goes on.
type replica struct {
	pool, primary *pgPool
	maxLag        time.Duration

	mu      sync.Mutex
	samples []sample             // of the primary, oldest first
	covered time.Time            // what was written before this is on the replica; zero: nothing is known
	written map[string]time.Time // when what the key stands for was last written through this edge
	all     time.Time            // the same for everything
	floor   time.Time            // writes up to then were of anything

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
	r := &replica{pool: pool, primary: primary, maxLag: maxLag, written: map[string]time.Time{}, stop: stop, done: make(chan struct{})}
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
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
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
			break
		}
	}
	for key, at := range r.written {
		if at.Before(r.covered) {
			delete(r.written, key)
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

// wrote notes that what the keys stand for was written.
func (r *replica) wrote(keys ...string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = now
	if len(r.written)+len(keys) > maxWritten {
		r.floor = now
		clear(r.written)
	}
	for _, key := range keys {
		r.written[key] = now
	}
}

// serves tells whether the replica may answer a read of what key stands for;
// an empty key stands for everything.
func (r *replica) serves(key string) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	written := r.all
	if key != "" {
		written = r.written[key]
		if r.floor.After(written) {
			written = r.floor
		}
	}
	return now.Sub(r.covered) <= r.maxLag && r.covered.After(written)
}

// query asks the replica, and the primary when the replica fails.
func (r *replica) query(ctx context.Context, read func(rows) error, text string, args ...any) error {
	err := pgReads{r.pool}.query(ctx, read, text, args...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return pgReads{r.primary}.query(ctx, read, text, args...)
}

// nearby is what may answer a read of what key stands for.
func (db *DB) nearby(ctx context.Context, key string) querier {
	if db.replica != nil && store.LagAllowed(ctx) && db.replica.serves(key) {
		return db.replica
	}
	return db.reader
}

// wrote notes writes of sessions, also those of which nobody knows whether they
// happened; without keys it may have been any.
func (db *DB) wrote(keys ...string) {
	if db.replica != nil {
		db.replica.wrote(keys...)
	}
}

// What the replica keeps apart: one session, and those of one owner.
func sessionKey(id string) string { return "session " + id }

func ownerKey(org, owner string) string { return strings.Join([]string{"owner", org, owner}, "\x00") }
