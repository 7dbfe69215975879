package reactor

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxEvents bounds what one wait tells, and so how long the first connection of
// a batch waits for its next turn.
const maxEvents = 256

// epoll watches sockets, level-triggered: a handler that leaves bytes unread is
// told again, and a short read needs no second one that finds nothing.
type epoll struct {
	fd, event int  // event wakes the wait
	busy      bool // there were events at the last wait
	placed    bool // places was told so, and nothing else since
	places    func(change int)
	events    [maxEvents]unix.EpollEvent
	ready     int // how many of events the last wait has filled

	pipes   []*pipe   // idle, empty
	noPipes time.Time // until when the kernel is not asked for more
	sockets []*socket // by slot, which the kernel gives back with each event
	free    []int32   // slots without a socket
	freed   []int32   // the same, but events of this wait may still name them
}

func newPoller(places func(change int)) (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot})
		if err != nil {
			_ = unix.Close(event)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &epoll{fd: fd, event: event, places: places}, nil
}

// wakeSlot stands for the eventfd.
const wakeSlot = -1

func (e *epoll) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(e.event, one[:]) // fails when it is at its limit, and so readable already
}

func (e *epoll) close() {
	for _, p := range e.pipes {
		p.destroy()
	}
	_ = unix.Close(e.event)
	_ = unix.Close(e.fd)
	e.place(false)
}

func (e *epoll) wait(timeout time.Duration) { e.ready = e.await(milliseconds(timeout)) }

func (e *epoll) tell(l *Loop) {
	for i := range e.events[:e.ready] {
		event := &e.events[i]
		if event.Fd == wakeSlot {
			var count [8]byte
			_, _ = unix.Read(e.event, count[:])
			continue
		}
		if s := e.sockets[event.Fd]; s != nil {
			l.dispatch(s.conn, readinessOf(event.Events))
		}
	}
	e.free = append(e.free, e.freed...)
	e.freed = e.freed[:0]
}

const (
	// busyWait is how long a loop that has just worked keeps its place in Go's
	// scheduler while it waits, in milliseconds.
	busyWait = 5

	// placeless is after how long without events, in milliseconds, a loop says that
	// it needs no place of its own. To change their number stops the process for
	// some 20 us.
	placeless = 1000
)

// await is epoll_wait. A loop that had events a moment ago waits without telling
// Go's scheduler: it will be back in microseconds, and giving its place away and
// taking it back each time costs more than all else that an update needs. After
// busyWait without events it tells, and costs nothing until the next one. Go's
// collector interrupts the wait with a signal when it needs to.
func (e *epoll) await(timeout int) int {
	if e.busy {
		e.place(true)
		wait := busyWait
		if timeout >= 0 {
			wait = min(timeout, busyWait)
		}
		n, errno := rawWait(e.fd, e.events[:], wait)
		if errno != 0 {
			return 0 // EINTR
		}
		if n > 0 || wait == timeout {
			return n
		}
		if timeout > 0 {
			timeout -= wait
		}
	}
	e.busy = false
	if e.placed && (timeout < 0 || timeout > placeless) {
		n, err := unix.EpollWait(e.fd, e.events[:], placeless)
		if n > 0 || err != nil {
			return e.found(n, err)
		}
		e.place(false)
		if timeout > 0 {
			timeout -= placeless
		}
	}
	return e.found(unix.EpollWait(e.fd, e.events[:], timeout))
}

func (e *epoll) found(n int, err error) int {
	if err != nil {
		return 0 // EINTR
	}
	e.busy = n > 0
	return n
}

func (e *epoll) place(needed bool) {
	if needed == e.placed {
		return
	}
	e.placed = needed
	if needed {
		e.places(1)
	} else {
		e.places(-1)
	}
}

// milliseconds rounds up, so that a timer is due when the wait for it ends.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

func readinessOf(events uint32) (r readiness) {
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
		r |= readable
	}
	if events&unix.EPOLLOUT != 0 {
		r |= writable
	}
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		r |= broken
	}
	return r
}

// adopt takes a socket away from Go's own poller, which would be woken by each
// of its events too: the descriptor is duplicated and the original closed.
func (e *epoll) adopt(conn net.Conn, c *Conn) source {
	var raw syscall.RawConn
	var err error
	conn = socketOf(conn)
	switch conn := conn.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	case *Tracked:
		raw, err = conn.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil // it is closed, which the portable way tells in words
	}
	fd := -1
	_ = raw.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if fd < 0 || err != nil {
		return nil // no descriptor is left: the portable way needs no second one
	}
	s := &socket{poll: e, conn: c, fd: fd}
	if len(e.free) > 0 {
		last := len(e.free) - 1
		s.slot = e.free[last]
		e.free = e.free[:last]
		e.sockets[s.slot] = s
	} else {
		s.slot = int32(len(e.sockets))
		e.sockets = append(e.sockets, s)
	}
	if tracked, ok := conn.(*Tracked); ok {
		s.ended = tracked.end
		conn = tracked.TCPConn
	}
	_ = conn.Close()
	return s
}

// socket is a descriptor that an epoll watches.
type socket struct {
	poll    *epoll
	conn    *Conn
	fd      int
	slot    int32
	ended   func() // tells that it is closed; nil: nobody needs it
	watched uint32 // the events that epoll knows of; 0 and !known: it does not know the socket
	known   bool
}

func (s *socket) read(p []byte) (int, error) {
	for {
		n, errno := rawReceive(s.fd, p)
		switch errno {
		case 0:
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		case unix.EAGAIN:
			return 0, ErrWait
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("read: %w", errno)
		}
	}
}

func (s *socket) write(p []byte) (int, error) { return s.send(p, 0) }

func (s *socket) send(p []byte, flags uintptr) (int, error) {
	for {
		n, errno := rawSend(s.fd, p, flags)
		switch errno {
		case 0:
			return n, nil
		case unix.EAGAIN:
			return 0, ErrWait
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("write: %w", errno)
		}
	}
}

func (s *socket) watch(read, write bool) {
	var events uint32
	if read {
		events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if write {
		events |= unix.EPOLLOUT
	}
	if s.known && events == s.watched {
		return
	}
	verb := unix.EPOLL_CTL_ADD
	if s.known {
		verb = unix.EPOLL_CTL_MOD
	}
	// Fails only when the kernel is out of memory; the stream's deadlines end it then.
	s.known = unix.EpollCtl(s.poll.fd, verb, s.fd, &unix.EpollEvent{Events: events, Fd: s.slot}) == nil
	s.watched = events
}

func (s *socket) unwatch() {
	if s.known {
		_ = unix.EpollCtl(s.poll.fd, unix.EPOLL_CTL_DEL, s.fd, nil)
		s.known = false
	}
}

func (s *socket) busy() bool { return false }

func (s *socket) closeWrite() { _ = unix.Shutdown(s.fd, unix.SHUT_WR) }

func (s *socket) close() {
	_ = unix.Close(s.fd) // which takes it from epoll
	s.poll.sockets[s.slot] = nil
	s.poll.freed = append(s.poll.freed, s.slot)
	if s.ended != nil {
		s.ended()
	}
}
