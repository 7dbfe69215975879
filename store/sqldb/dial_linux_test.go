package sqldb

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// A host that lost its power answers nothing: pgx would ask it for 15 s to cancel each
// statement that was under way, and keep all places of the pool for so long.
func TestAHostThatAcceptsNothingKeepsNoPlaceInThePool(t *testing.T) {
	silent := fullListener(t)
	c, err := PostgresOptions{}.withDefaults().poolConfig("postgres://" + silent + "/streamspace")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang) // as for a cancel: longer than for a connect
	defer cancel()
	conn, err := c.ConnConfig.DialFunc(ctx, "tcp", silent)
	if err == nil {
		_ = conn.Close()
		t.Fatal("the silent host answers")
	}
	if ctx.Err() != nil {
		t.Errorf("it was dialled for all the time there was: %v", err)
	}
}

func TestASilentHostThatIsNamedFirstStopsNoCall(t *testing.T) {
	server := pgserver.Start(t)
	database := server.NewDatabase()
	db := openPostgres(t, PostgresOptions{Primary: pgserver.DSN(database, fullListener(t), server.Host()), Timeout: 2 * time.Second})
	for range 3 {
		db.engine.(*postgres).pool.Reset()
		if err := db.Ping(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// fullListener is the address of one whose queue is full: Linux answers no SYN then.
func fullListener(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	waiting, err := net.DialTimeout("tcp", address, time.Minute) // in the queue's one place
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = waiting.Close() })
	return address
}
