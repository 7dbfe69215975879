package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// wantFirst uses a ticket of a ledger.
func wantFirst(t *testing.T, l ledger, of, id string, expires time.Time, want bool) {
	t.Helper()
	if first, err := l.use(context.Background(), of, id, expires); err != nil || first != want {
		t.Errorf("the use of %s: first is %v, %v; want %v", id, first, err, want)
	}
}

func TestTicketsOutliveARestartOfAnEdgeOnSQLite(t *testing.T) {
	path, soon := t.TempDir()+"/streamspace.db", time.Now().Add(time.Hour)
	first := openAt(t, path)
	ledger := first.TicketLedger()
	wantFirst(t, first.tickets, ledger, "used", soon, true)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.UseTicket(context.Background(), ledger, "too late", soon); store.CodeOf(err) != store.Unavailable {
		t.Errorf("a use after the end: %v", err)
	}
	if err := openAt(t, path).Close(); err != nil { // who makes no ticket leaves all as it was
		t.Fatal(err)
	}
	second := openAt(t, path)
	wantFirst(t, second.tickets, ledger, "used", soon, false)
	wantFirst(t, second.tickets, ledger, "not used", soon, true)
	if second.TicketLedger() != ledger {
		t.Error("it has another ledger")
	}
}

func TestAStartOfAnEdgeOnSQLiteThatWasKilledEndsItsTickets(t *testing.T) {
	path, soon := t.TempDir()+"/streamspace.db", time.Now().Add(time.Hour)
	first := openAt(t, path)
	ledger := first.TicketLedger()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	killed := openAt(t, path)
	wantFirst(t, killed.tickets, ledger, "used", soon, true)
	third := openAt(t, path)
	for _, id := range []string{"used", "not used"} {
		wantFirst(t, third.tickets, ledger, id, soon, false)
	}
	if third.TicketLedger() == ledger {
		t.Error("it goes on with a ledger that lacks a use")
	}
}

func TestWhatALedgerHasForgottenIsKeptOverARestart(t *testing.T) {
	path, now := t.TempDir()+"/streamspace.db", time.Now()
	first := openAt(t, path)
	ledger := first.TicketLedger()
	l := first.tickets.(*memoryLedger)
	wantFirst(t, l, ledger, "forgotten", now.Add(time.Minute), true)
	l.forget(now.Add(2 * time.Minute))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// The clock is where the ticket would be good again.
	wantFirst(t, openAt(t, path).tickets, ledger, "forgotten", now.Add(time.Minute), false)
}

func TestATicketIsNeverUsableTwiceHoweverLateTheSecondUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLedger()
		ledger, expires := l.current(), time.Now().Add(time.Hour)
		wantFirst(t, l, ledger, "ticket", expires, true)
		for _, wait := range []time.Duration{0, time.Hour - 1, 1, time.Hour} {
			time.Sleep(wait)
			wantFirst(t, l, ledger, "ticket", expires, false)
		}
		if len(l.used) != 0 || l.current() != ledger {
			t.Errorf("%d tickets are kept after their end; the ledger is another: %v", len(l.used), l.current() != ledger)
		}
	})
}

func TestAFullLedgerBeginsAnewRatherThanForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLedger()
		ledger, expires := l.current(), time.Now().Add(time.Hour)
		for i := range maxTickets {
			wantFirst(t, l, ledger, strconv.Itoa(i), expires, true)
		}
		wantFirst(t, l, ledger, "0", expires, false)
		wantFirst(t, l, ledger, "one too many", expires, false)
		for _, id := range []string{"0", "one too many", "another"} {
			wantFirst(t, l, ledger, id, expires, false)
		}
		wantFirst(t, l, l.current(), "new", expires, true)

		// Where they have expired there is room.
		ledger = l.current()
		for i := range maxTickets - 1 {
			wantFirst(t, l, ledger, strconv.Itoa(i), expires, true)
		}
		time.Sleep(time.Hour)
		wantFirst(t, l, ledger, "later", time.Now().Add(time.Hour), true)
	})
}

func TestAClockThatIsSetBackBringsNoTicketBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemoryLedger()
		ledger, begin := l.current(), time.Now()
		wantFirst(t, l, ledger, "short", begin.Add(time.Minute), true)
		wantFirst(t, l, ledger, "long", begin.Add(2*time.Hour), true)
		time.Sleep(time.Hour)
		wantFirst(t, l, ledger, "other", time.Now().Add(time.Hour), true) // forgets the short one
		set := func(to time.Duration, same bool) {
			t.Helper()
			l.forget(begin.Add(to))
			if (l.current() == ledger) != same {
				t.Errorf("the clock at %v: the ledger goes on is %v", to, !same)
			}
		}
		set(time.Minute, true)    // it had expired by then
		set(time.Minute-1, false) // it could be used again
	})
}

func TestATicketIsUsedOnceByEdgesThatUseItAtOnce(t *testing.T) {
	server := pgserver.Start(t)
	bouncer := pgserver.StartBouncer(t, server, 10)
	database := server.NewDatabase()
	direct, behind := PostgresOptions{Primary: server.DSN(database)}, PostgresOptions{Primary: bouncer.DSN(database), PgBouncer: true}
	storetest.TicketRace(t, openPostgres(t, direct), openPostgres(t, behind), openPostgres(t, direct))
}

// TestFailoverForgetsNoTicket uses each ticket again and again while the primary
// crashes and its standby takes its place.
func TestFailoverForgetsNoTicket(t *testing.T) {
	primary := pgserver.Start(t)
	database := primary.NewDatabase()
	standby := synchronousStandby(t, primary)
	o := PostgresOptions{Primary: pgserver.DSN(database, primary.Host(), standby.Host())}
	edges := []*DB{openPostgres(t, o), openPostgres(t, o)}
	var users sync.WaitGroup
	var mu sync.Mutex
	var stop atomic.Bool
	uses := map[string]int{}
	var tickets []string
	use := func(db *DB, id string) error {
		first, err := db.UseTicket(context.Background(), db.TicketLedger(), id, time.Now().Add(time.Hour))
		if err != nil && (store.CodeOf(err) != store.Unavailable || first) {
			t.Errorf("%v, %v", first, err)
		}
		if first {
			mu.Lock()
			uses[id]++
			mu.Unlock()
		}
		return err
	}
	for range 5 {
		users.Go(func() {
			for !stop.Load() {
				id := uuid.NewString()
				var both sync.WaitGroup
				for _, db := range edges {
					both.Go(func() {
						if use(db, id) != nil {
							time.Sleep(50 * time.Millisecond) // or there would be thousands that met no database
						}
					})
				}
				both.Wait()
				mu.Lock()
				tickets = append(tickets, id)
				mu.Unlock()
			}
		})
	}
	more := func() {
		mu.Lock()
		before := len(uses)
		mu.Unlock()
		eventually(t, func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(uses) < before+100 {
				return fmt.Errorf("%d of 100 tickets were used", len(uses)-before)
			}
			return nil
		})
	}
	more()
	primary.Kill()
	standby.Promote()
	more()
	stop.Store(true)
	users.Wait()
	for _, id := range tickets {
		for _, db := range edges {
			if err := use(db, id); err != nil {
				t.Errorf("in the end: %v", err)
			}
		}
		if uses[id] > 1 {
			t.Errorf("%s was used %d times", id, uses[id])
		}
	}
}

func TestTheDatabaseTellsWhetherATicketIsUsedOrTheViewerWaits(t *testing.T) {
	server := pgserver.Start(t)
	db := openPostgres(t, PostgresOptions{Primary: server.DSN(server.NewDatabase()), Timeout: time.Second})
	server.Suspend()
	first, err := db.UseTicket(t.Context(), db.TicketLedger(), "ticket", time.Now().Add(time.Hour))
	server.Resume()
	if first || store.CodeOf(err) != store.Unavailable {
		t.Errorf("while it is silent: %v, %v", first, err)
	}
	eventually(t, func() error {
		first, err := db.UseTicket(t.Context(), db.TicketLedger(), uuid.NewString(), time.Now().Add(time.Hour))
		if err == nil && !first {
			err = errors.New("a new ticket counts as used")
		}
		return err
	})
}

func TestExpiredTicketsArePurgedByTheDatabasesClock(t *testing.T) {
	server := pgserver.Start(t)
	o := PostgresOptions{Primary: server.DSN(server.NewDatabase())}
	edges := []*DB{openPostgres(t, o), openPostgres(t, o), openPostgres(t, o)}
	ctx, db, now := t.Context(), edges[0], time.Now()
	const old = 3 * purgeBatch
	err := execute(ctx, db.writer, `INSERT INTO used_tickets (id, used_by, expires_at)
		SELECT 'old ' || n, '', CAST(? AS BIGINT) FROM generate_series(1, CAST(? AS BIGINT)) AS n`, micros(now.Add(-2*store.TicketPatience-time.Minute)), old)
	if err != nil {
		t.Fatal(err)
	}
	late := now.Add(-store.TicketPatience + time.Minute) // as of an edge whose clock is behind
	wantFirst(t, db.tickets, db.TicketLedger(), "late", late, true)
	var all sync.WaitGroup
	for _, edge := range edges {
		all.Go(func() {
			if _, err := edge.PurgeSessions(ctx, now); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	left, err := one(ctx, db.reader, nil, func(n *int) []any { return []any{n} }, "SELECT COUNT(*) FROM used_tickets")
	if err != nil || *left != 1 {
		t.Errorf("%v tickets are left, %v", left, err)
	}
	wantFirst(t, edges[1].tickets, db.TicketLedger(), "late", late, false)
	wantFirst(t, edges[1].tickets, db.TicketLedger(), "old 1", now.Add(-2*store.TicketPatience-time.Minute), false)
}

func TestWhoRestoresABackupCanEndAllTickets(t *testing.T) {
	server := pgserver.Start(t)
	database := server.NewDatabase()
	o := PostgresOptions{Primary: server.DSN(database)}
	before := openPostgres(t, o)
	server.Exec(database, "UPDATE ticket_ledger SET id = gen_random_uuid()::text")
	after := openPostgres(t, o)
	expires := time.Now().Add(time.Hour)
	for _, db := range []*DB{before, after} {
		wantFirst(t, db.tickets, before.TicketLedger(), uuid.NewString(), expires, false)
	}
	wantFirst(t, after.tickets, after.TicketLedger(), uuid.NewString(), expires, true)
}

// answerLoser passes everything on between an edge and PostgreSQL, but the answer
// to the first request that has a text in it: instead the connection ends.
type answerLoser struct {
	listener net.Listener
	server   string
	text     []byte
	lost     atomic.Bool
	running  sync.WaitGroup
}

func loseAnswerTo(t *testing.T, server, text string) *answerLoser {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &answerLoser{listener: l, server: server, text: []byte(text)}
	p.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.pass(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.running.Wait()
	})
	return p
}

func (p *answerLoser) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var lose atomic.Bool
	p.running.Go(func() {
		defer func() { _ = client.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || lose.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], p.text) && p.lost.CompareAndSwap(false, true) {
			lose.Store(true)
		}
		if _, err := io.Copy(server, bytes.NewReader(buffer[:n])); err != nil {
			return
		}
	}
}

func TestATicketIsGoodAlthoughTheAnswerToItsUseGotLost(t *testing.T) {
	server := pgserver.Start(t)
	database := server.NewDatabase()
	way := loseAnswerTo(t, server.Host(), "ticket-lost")
	// The loser must be gone last: it waits for the connections.
	near, far := openPostgres(t, PostgresOptions{Primary: pgserver.DSN(database, way.listener.Addr().String())}), openPostgres(t, PostgresOptions{Primary: server.DSN(database)})
	ledger, expires := near.TicketLedger(), time.Now().Add(time.Hour)
	wantFirst(t, near.tickets, ledger, "another", expires, true) // the statement is known now
	wantFirst(t, near.tickets, ledger, "ticket-lost", expires, true)
	if !way.lost.Load() {
		t.Fatal("no answer was lost")
	}
	wantFirst(t, far.tickets, ledger, "ticket-lost", expires, false)
	wantFirst(t, near.tickets, ledger, "ticket-lost", expires, false)
}

// BenchmarkUseTicket has one caller after the other, and a thousand at once as
// when an edge has died; with these it tells how long a use takes for one of a
// hundred, its wait for a connection included.
func BenchmarkUseTicket(b *testing.B) {
	server := pgserver.Start(b)
	bouncer := pgserver.StartBouncer(b, server, DefaultMaxConns)
	database := server.NewDatabase()
	for name, db := range map[string]*DB{
		"SQLite":    openNew(b),
		"direct":    openPostgres(b, PostgresOptions{Primary: server.DSN(database)}),
		"PgBouncer": openPostgres(b, PostgresOptions{Primary: bouncer.DSN(database), PgBouncer: true}),
	} {
		use := func(b *testing.B) {
			expires := time.Now().Add(time.Hour)
			if _, err := db.UseTicket(context.Background(), db.TicketLedger(), uuid.Must(uuid.NewV7()).String(), expires); err != nil {
				b.Error(err)
			}
		}
		b.Run(name+"/one", func(b *testing.B) {
			for b.Loop() {
				use(b)
			}
		})
		b.Run(name+"/thousand", func(b *testing.B) {
			var mu sync.Mutex
			var took []time.Duration
			b.SetParallelism(1000 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					began := time.Now()
					use(b)
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
				}
			})
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
