package listen

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// halved is a connection in memory that can be half-closed, as far as its owner
// can tell.
type halved struct {
	net.Conn
	told bool
}

func (h *halved) CloseWrite() error {
	h.told = true
	return nil
}

// lingering closes a connection that is to linger.
func lingering(t *testing.T, l *Lingering) (server *halved, client net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	server = &halved{Conn: far}
	c := &Conn{Conn: server, options: &Options{Lingering: l}}
	Linger(c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return server, near
}

// send writes until the connection takes no more, and tells how much it took.
func send(client net.Conn, size int, every time.Duration) (bytes int) {
	part := make([]byte, size)
	for {
		n, err := client.Write(part)
		bytes += n
		if err != nil {
			return bytes
		}
		time.Sleep(every)
	}
}

func TestAConnectionLingersUntilItsBounds(t *testing.T) {
	for name, c := range map[string]struct {
		size  int
		every time.Duration
		lasts time.Duration
		takes int
	}{
		"a client that sends a little for ever": {1, 4 * time.Second, lingerWhole, 8},
		"a client that sends too seldom":        {1, 6 * time.Second, lingerIdle, 1},
		"a client that sends as fast as it can": {1 << 20, 0, 0, lingerBytes},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Lingering
				server, client := lingering(t, &l)
				began, took := time.Now(), 0
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					took = send(client, c.size, c.every)
				}()
				l.running.Wait()
				if lasted := time.Since(began); lasted != c.lasts {
					t.Errorf("it lasted %s, want %s", lasted, c.lasts)
				}
				<-sent
				if took != c.takes || !server.told {
					t.Errorf("%d bytes were taken, want %d; the client was told of the end: %v", took, c.takes, server.told)
				}
			})
		})
	}
}

func TestAConnectionLingersUntilTheClientEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lingering
		_, client := lingering(t, &l)
		began := time.Now()
		_ = client.Close()
		l.running.Wait()
		if lasted := time.Since(began); lasted != 0 || l.Active() != 0 {
			t.Errorf("it lasted %s, and %d are left", lasted, l.Active())
		}
	})
}

func TestTheEndOfLingeringEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lingering
		var clients []net.Conn
		for range mostLinger {
			_, client := lingering(t, &l)
			clients = append(clients, client)
		}
		ended := func(client net.Conn) bool {
			_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := client.Read(make([]byte, 1))
			return err == io.EOF
		}
		if l.Active() != mostLinger || ended(clients[0]) {
			t.Fatalf("%d linger", l.Active())
		}
		if server, client := lingering(t, &l); server.told || !ended(client) {
			t.Error("one too many is not closed at once")
		}
		began := time.Now()
		l.Close()
		if time.Since(began) != 0 || l.Active() != 0 {
			t.Errorf("the end took %s, and %d are left", time.Since(began), l.Active())
		}
		for _, client := range clients {
			if !ended(client) {
				t.Fatal("one is open")
			}
		}
		if server, client := lingering(t, &l); server.told || !ended(client) {
			t.Error("one that comes later is not closed at once")
		}
	})
}

// TestASecondCloseEndsLingering: as whoever closes what another has closed expects.
func TestASecondCloseEndsLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lingering
		near, far := net.Pipe()
		defer near.Close()
		c := &Conn{Conn: &halved{Conn: far}, options: &Options{Lingering: &l}}
		Linger(c)
		_ = c.Close()
		synctest.Wait()
		if l.Active() != 1 {
			t.Fatalf("%d linger", l.Active())
		}
		_ = c.Close()
		l.running.Wait()
	})
}
