package sqldb

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// playedClock is a host whose clocks are what a test says.
type playedClock struct {
	wall    time.Time
	running time.Duration
}

func (p *playedClock) clock() *clock {
	return &clock{host: hostClock{func() time.Time { return p.wall }, func() time.Duration { return p.running }}}
}

// pass lets time go by, of which the host's clock shows that much.
func (p *playedClock) pass(d, shown time.Duration) {
	p.wall, p.running = p.wall.Add(shown), p.running+d
}

func TestAClockThatIsSetIsNoticedAtOnce(t *testing.T) {
	host := &playedClock{wall: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	c := host.clock()
	want := func(when string, ahead time.Duration) {
		t.Helper()
		if got := c.ahead(); got != ahead {
			t.Errorf("%s: the database is %v ahead, want %v", when, got, ahead)
		}
	}
	want("before the first reading", 0)
	c.set(host.wall.Add(300*time.Millisecond), host.running)
	want("within the error", 0)
	host.pass(time.Minute, time.Minute)
	want("later", 0)
	host.pass(time.Second, time.Hour+time.Second)
	want("set an hour on", -time.Hour+300*time.Millisecond)
	c.set(host.wall.Add(-time.Hour-200*time.Millisecond), host.running)
	want("read again, a little off", -time.Hour+300*time.Millisecond)
	host.pass(time.Second, -time.Hour)
	want("set right", 0)
	host.pass(time.Second, -2*time.Hour)
	if got := c.ahead(); (got - 2*time.Hour).Abs() > 2*time.Second {
		t.Errorf("set two hours back: the database is %v ahead", got)
	}
}

// TestRowsHaveTheTimeOfTheDatabase, on a host whose clock is two days ahead.
func TestRowsHaveTheTimeOfTheDatabase(t *testing.T) {
	ctx := context.Background()
	db := openNew(t)
	const off = 48 * time.Hour
	host := &playedClock{wall: time.Now()}
	db.clock = host.clock()
	db.clock.set(host.wall.Add(-off), host.running)
	right := func(what string, at time.Time) {
		t.Helper()
		if age := time.Since(at.Add(off)); age.Abs() > hang {
			t.Errorf("%s is %v before the database's time", what, age)
		}
	}
	row := newRow("agent-1")
	row.CreatedAt, row.UpdatedAt, row.LastActivity = time.Time{}, time.Time{}, time.Time{}
	s, _, err := db.CreateSession(ctx, row, "key")
	if err != nil {
		t.Fatal(err)
	}
	right("created_at", s.CreatedAt)
	s, err = db.UpdateSession(ctx, s.ID, func(s *store.Session) error { s.Width++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	right("updated_at", s.UpdatedAt)
	if _, err := db.PurgeSessions(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.SessionByKey(ctx, row.Org, row.Owner, "key"); err != nil {
		t.Errorf("the idempotency key of a moment ago: %v", err)
	}
}

func TestTheClockOfPostgresIsRead(t *testing.T) {
	server := pgserver.Start(t)
	bouncer := pgserver.StartBouncer(t, server, 5)
	database := server.NewDatabase()
	for name, o := range map[string]PostgresOptions{
		"direct":           {Primary: server.DSN(database)},
		"behind PgBouncer": {Primary: bouncer.DSN(database), PgBouncer: true},
	} {
		t.Run(name, func(t *testing.T) {
			db := openPostgres(t, o)
			wrong := &clock{host: hostClock{func() time.Time { return time.Now().Add(time.Hour) }, newHostClock().running}}
			eventually(t, func() error { // a reading that took long does not count
				wrong.look(context.Background(), db.engine.(*postgres).pgPool)
				if off := wrong.measured() + time.Hour; !wrong.known || off.Abs() > clockTimeout {
					return errors.New("of a host an hour ahead the database is ahead by " + wrong.measured().String())
				}
				return nil
			})
			if got := db.ClockAhead(); got != 0 {
				t.Errorf("of its own host the database is ahead by %v", got)
			}
		})
	}
}
