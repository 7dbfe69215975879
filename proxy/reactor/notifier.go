package reactor

import (
	"net"
	"time"
)

// notifier is a poller that watches nothing: it adopts no connection, and those
// with goroutines of their own tell the loop what happens.
type notifier struct{ woken chan struct{} }

func newNotifier() *notifier { return &notifier{woken: make(chan struct{}, 1)} }

func (n *notifier) wake() {
	select {
	case n.woken <- struct{}{}:
	default: // a wake is on its way already
	}
}

func (n *notifier) wait(timeout time.Duration) {
	if timeout < 0 {
		<-n.woken
		return
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-n.woken:
	case <-timer.C:
	}
}

func (n *notifier) tell(*Loop)                   {}
func (n *notifier) adopt(net.Conn, *Conn) source { return nil }
func (n *notifier) close()                       {}
