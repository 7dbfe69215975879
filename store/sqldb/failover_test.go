package sqldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// hang is how long a test waits for what should come soon, only so that a hang
// becomes a failure.
const hang = time.Minute

// eventually asks until there is no error.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Since(began) > hang {
			t.Fatal(err)
		}
	}
}

// synchronousStandby makes a standby of primary for which commits wait from now on.
func synchronousStandby(t *testing.T, primary *pgserver.Server) *pgserver.Server {
	t.Helper()
	standby := primary.Standby("standby")
	primary.Exec("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	primary.Exec("postgres", "SELECT pg_reload_conf()")
	eventually(t, func() error {
		if state := primary.Exec("postgres", "SELECT sync_state FROM pg_stat_replication"); state != "sync" {
			return fmt.Errorf("the standby is %q", state)
		}
		return nil
	})
	return standby
}

// writers create sessions until they are stopped, and remember which were
// acknowledged.
type writers struct {
	running      sync.WaitGroup
	stop         chan struct{}
	mu           sync.Mutex
	acknowledged map[string]bool
	wrong        []error
}

func startWriters(db *DB, n int) *writers {
	w := &writers{stop: make(chan struct{}), acknowledged: map[string]bool{}}
	for range n {
		w.running.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				default:
				}
				s, _, err := db.CreateSession(context.Background(), newRow(""), "")
				w.mu.Lock()
				switch {
				case err == nil:
					w.acknowledged[s.ID] = true
				case store.CodeOf(err) != store.Unavailable:
					w.wrong = append(w.wrong, err)
				}
				w.mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	return w
}

// more waits for n more acknowledged writes.
func (w *writers) more(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.acknowledged)
	}
	want := count() + n
	eventually(t, func() error {
		if got := count(); got < want {
			return fmt.Errorf("%d writes, want %d", got, want)
		}
		return nil
	})
}

// verify ends the writers and looks for what they were acknowledged.
func (w *writers) verify(t *testing.T, db *DB) {
	t.Helper()
	close(w.stop)
	w.running.Wait()
	for _, err := range w.wrong {
		t.Error(err)
	}
	for id := range w.acknowledged {
		if _, err := db.Session(context.Background(), id); err != nil {
			t.Fatalf("session %s of %d was acknowledged, then lost: %v", id, len(w.acknowledged), err)
		}
	}
}

func TestFailoverLosesNothingThatWasAcknowledged(t *testing.T) {
	for name, c := range map[string]struct {
		end     func(*pgserver.Server)
		bouncer bool
	}{
		"a primary that crashes":                     {(*pgserver.Server).Kill, false},
		"a primary that is stopped":                  {(*pgserver.Server).Stop, false},
		"a primary that falls silent":                {(*pgserver.Server).Suspend, false},
		"a primary behind PgBouncer, and it crashes": {(*pgserver.Server).Kill, true},
		"a primary behind PgBouncer falls silent":    {(*pgserver.Server).Suspend, true},
	} {
		t.Run(name, func(t *testing.T) {
			primary := pgserver.Start(t)
			database := primary.NewDatabase()
			standby := synchronousStandby(t, primary)
			hosts := []string{primary.Host(), standby.Host()}
			if c.bouncer {
				hosts = []string{pgserver.StartBouncer(t, primary, DefaultMaxConns).Host(), pgserver.StartBouncer(t, standby, DefaultMaxConns).Host()}
			}
			db := openPostgres(t, PostgresOptions{Primary: pgserver.DSN(database, hosts...), PgBouncer: c.bouncer})
			w := startWriters(db, 2*DefaultMaxConns) // so that all connections are in use
			w.more(t, 50)
			c.end(primary)
			standby.Promote()
			promoted := time.Now()
			w.more(t, 50)
			t.Logf("writes went on %v after the promotion", time.Since(promoted))
			w.verify(t, db)
			if err := db.Ping(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARestartOfPgBouncerOrTheServerIsNotNoticed(t *testing.T) {
	ctx := context.Background()
	server := pgserver.Start(t)
	bouncer := pgserver.StartBouncer(t, server, 5)
	database := server.NewDatabase()
	for name, c := range map[string]struct {
		o       PostgresOptions
		restart func()
	}{
		"server":    {PostgresOptions{Primary: server.DSN(database)}, func() { server.Stop(); server.Run() }},
		"PgBouncer": {PostgresOptions{Primary: bouncer.DSN(database), PgBouncer: true}, func() { bouncer.Kill(); bouncer.Run() }},
		"ended by command": {PostgresOptions{Primary: server.DSN(database)}, func() {
			server.Exec("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'streamspace'")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db := openPostgres(t, c.o)
			s, _, err := db.CreateSession(ctx, newRow(""), "")
			if err != nil {
				t.Fatal(err)
			}
			c.restart()
			// With connections of before in the pool.
			updated, err := db.UpdateSession(ctx, s.ID, func(s *store.Session) error { s.Width++; return nil })
			if err != nil || updated.Width != s.Width+1 {
				t.Errorf("the first write: %+v, %v", updated, err)
			}
			c.restart()
			if _, err := db.Session(ctx, s.ID); err != nil {
				t.Errorf("the first read: %v", err)
			}
		})
	}
}

func TestWhileTheDatabaseIsGoneCallsFailAtOnceAndAreServedAfterwards(t *testing.T) {
	ctx := context.Background()
	server := pgserver.Start(t)
	db := openPostgres(t, PostgresOptions{Primary: server.DSN(server.NewDatabase()), Timeout: 3 * time.Second})
	s, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	pool := db.engine.(*postgres).pgPool
	eventually(t, func() error {
		if _, err := db.Session(ctx, s.ID); store.CodeOf(err) != store.Unavailable {
			t.Fatalf("without a database: %v", err)
		}
		if !pool.breaker.isOpen() {
			return errors.New("the breaker is closed")
		}
		return nil
	})
	// None of these waits for anything but at most one probe.
	refused := 0
	for range 1000 {
		if _, err := db.Session(ctx, s.ID); err != nil && strings.Contains(err.Error(), "does not answer; try again") {
			if errors.Unwrap(err) == nil {
				t.Fatal("who refuses does not tell the log why the database counts as gone")
			}
			refused++
		}
	}
	if refused < 900 {
		t.Errorf("%d of 1000 were refused at once", refused)
	}
	server.Run()
	eventually(t, func() error { _, err := db.Session(ctx, s.ID); return err })
	if pool.breaker.isOpen() || pool.slots.inUse() != 0 {
		t.Errorf("afterwards: open %v, %d in use", pool.breaker.isOpen(), pool.slots.inUse())
	}
}

func TestASilentDatabaseFailsInTime(t *testing.T) {
	server := pgserver.Start(t)
	db := openPostgres(t, PostgresOptions{Primary: server.DSN(server.NewDatabase()), Timeout: 500 * time.Millisecond})
	server.Suspend()
	defer server.Resume()
	err := db.Ping(context.Background())
	if store.CodeOf(err) != store.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestAPoolThatIsUsedUpSaysSo(t *testing.T) {
	ctx := context.Background()
	server := pgserver.Start(t)
	db := openPostgres(t, PostgresOptions{Primary: server.DSN(server.NewDatabase()), MaxConns: 1, Timeout: 500 * time.Millisecond})
	s, _, err := db.CreateSession(ctx, newRow(""), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.UpdateSession(ctx, s.ID, func(*store.Session) error {
		_, err := db.Session(ctx, s.ID)
		return err
	})
	wantUnavailable(t, err, "every connection to the database is in use")
}

func TestNothingIsRepeatedThatMayHaveHappened(t *testing.T) {
	fatal := &pgconn.PgError{Code: "57P01", SeverityUnlocalized: "FATAL"}
	serialization := &pgconn.PgError{Code: "40001", SeverityUnlocalized: "ERROR"}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"ended by an operator":               {fatal, true},
		"a standby":                          {&pgconn.PgError{Code: "25006", SeverityUnlocalized: "ERROR"}, true},
		"two changes at once":                {serialization, true},
		"a deadlock":                         {&pgconn.PgError{Code: "40P01"}, true},
		"no connection":                      {&pgconn.ConnectError{}, true},
		"a conflict":                         {&pgconn.PgError{Code: "23505"}, false},
		"a fault of ours":                    {&pgconn.PgError{Code: "42601"}, false},
		"a full disk":                        {&pgconn.PgError{Code: "53100"}, false},
		"amid a commit, ended":               {committed(fatal), false},
		"amid a commit, cut off":             {committed(context.DeadlineExceeded), false},
		"a commit refused for another's":     {committed(serialization), true},
		"the work's own, though it looks so": {&workError{own: fatal}, false},
		"the work's after the database's":    {&workError{own: errors.New("not found"), failed: fatal}, true},
	} {
		if got := repeatable(c.err); got != c.want {
			t.Errorf("%s: repeatable is %v", name, got)
		}
	}
}

func TestNoPasswordInErrors(t *testing.T) {
	server := pgserver.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	const secret = "hunter2/geheim"
	for _, dsn := range []string{
		"postgres://streamspace:" + secret + "@" + server.Host() + "/postgres", // not escaped
		"postgres://streamspace:hunter2%2Fgeheim@" + server.Host() + "/postgres?sslmode=disable",
		"postgres://streamspace:hunter2%2Fgeheim@127.0.0.1:1/postgres?sslmode=disable",
		"host=127.0.0.1 port=x password=" + secret,
	} {
		_, err := OpenPostgres(ctx, PostgresOptions{Primary: dsn, Timeout: 100 * time.Millisecond})
		if err == nil {
			t.Fatal("it was opened")
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("the password is in %q", err)
		}
	}
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestThePasswordIsReadFromItsFileAtEachConnect(t *testing.T) {
	server := pgserver.Start(t)
	file := t.TempDir() + "/password"
	o := PostgresOptions{Primary: "postgres://" + pgserver.User + "@" + server.Host() + "/postgres?sslmode=disable", PasswordFile: file, Timeout: time.Second}
	_, err := OpenPostgres(t.Context(), o)
	wantUnavailable(t, err, "password file of the database can't be read")
	writeFile(t, file, "wrong")
	_, err = OpenPostgres(t.Context(), o)
	wantUnavailable(t, err, "refuses the user or the password")
	writeFile(t, file, pgserver.Password+"\n")
	db := openPostgres(t, o)
	server.Exec("postgres", "ALTER USER "+pgserver.User+" PASSWORD 'changed'")
	writeFile(t, file, "changed")
	db.engine.(*postgres).pool.Reset()
	if err := db.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestADatabaseThatMayLoseWritesIsRefused(t *testing.T) {
	server := pgserver.Start(t)
	database := server.NewDatabase()
	server.Exec("postgres", "ALTER DATABASE "+database+" SET synchronous_commit = off")
	_, err := OpenPostgres(t.Context(), PostgresOptions{Primary: server.DSN(database)})
	wantUnavailable(t, err, "synchronous_commit is off")
}

func TestEverySQLSTATEHasACodeAndWords(t *testing.T) {
	for _, state := range []string{"", "0", pgUnique, pgBadText, pgReadOnly, pgBadPassword, pgNoDatabase, pgNoTable, pgNoStatement, "40001", "08006", "XX000"} {
		if code, text := explainPostgres(state); code == "" || text == "" {
			t.Errorf("%q: %q %q", state, code, text)
		}
	}
}

func TestPlaceholdersBecomeNumbers(t *testing.T) {
	text, args, err := native("UPDATE t SET (a, b) = (?, ?) WHERE id = ?", []any{store.Running, new(micros), document{map[string]int{"a": 1}}})
	if err != nil || text != "UPDATE t SET (a, b) = ($1, $2) WHERE id = $3" {
		t.Errorf("%q, %v", text, err)
	}
	for i, want := range []any{"running", int64(0), `{"a":1}`} {
		if args[i] != want {
			t.Errorf("argument %d is %#v", i, args[i])
		}
	}
	if _, _, err := native("?", []any{make(chan int)}); err == nil {
		t.Error("a channel became an argument")
	}
}

// TestWhatTheStandbyHasNotIsNotAcknowledgedToWhoAsksAgain: a commit that was given
// up while it waited for the standby is there on the primary alone.
func TestWhatTheStandbyHasNotIsNotAcknowledgedToWhoAsksAgain(t *testing.T) {
	ctx := context.Background()
	primary := pgserver.Start(t)
	database := primary.NewDatabase()
	standby := synchronousStandby(t, primary)
	db := openPostgres(t, PostgresOptions{Primary: primary.DSN(database), Timeout: 2 * time.Second})
	standby.Suspend()
	row := newRow("")
	if _, _, err := db.CreateSession(ctx, row, "key"); store.CodeOf(err) != store.Unavailable {
		t.Fatalf("without the standby: %v", err)
	}
	eventually(t, func() error { _, err := db.Session(ctx, row.ID); return err })
	if _, _, err := db.CreateSession(ctx, newRow(""), "key"); store.CodeOf(err) != store.Unavailable {
		t.Errorf("asked again, a session is acknowledged that the standby has not: %v", err)
	}
	if s, err := db.SessionByKey(ctx, row.Org, row.Owner, "key"); store.CodeOf(err) != store.Unavailable {
		t.Errorf("asked for by its key: %v, %v", s, err)
	}
	standby.Resume()
	eventually(t, func() error {
		again, created, err := db.CreateSession(ctx, newRow(""), "key")
		if err == nil && (created || again.ID != row.ID) {
			err = fmt.Errorf("another session: %v", again)
		}
		return err
	})
}
