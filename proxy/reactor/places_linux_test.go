package reactor

import (
	"io"
	"sync"
	"testing"
	"time"
)

// TestPlacesAreTold: a loop needs a place from when it has work until it has had
// none for a second, or has ended.
func TestPlacesAreTold(t *testing.T) {
	changes := make(chan int, 10)
	r, err := New(1, func(change int) { changes <- change })
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(r.Close)
	defer end()
	next := func() int {
		select {
		case change := <-changes:
			return change
		case <-time.After(hang):
			return 0
		}
	}
	near, far := tcpPair(t)
	defer far.Close()
	l := r.Loop()
	onLoop(l, func() { echoer(l, near) })
	work := func() {
		t.Helper()
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	work()
	if change := next(); change != 1 {
		t.Fatalf("%d when it begins to work", change)
	}
	if change := next(); change != -1 {
		t.Fatalf("%d when it rests", change)
	}
	work()
	if change := next(); change != 1 {
		t.Fatalf("%d when it works again", change)
	}
	end()
	if change := next(); change != -1 {
		t.Fatalf("%d when it has ended", change)
	}
}
