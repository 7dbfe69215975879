// Package demo is the built-in VNC server: a real RFB server whose desktop is
// drawn here, for hosts on which no other is installed. A Server is one desktop;
// all its viewers see the same picture and type into the same text area.
//
// Nothing runs while nobody looks: each viewer's writer wakes itself when the
// next frame is due, and only while its client waits for an update.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Limits of a demo desktop.
const (
	minSide   = 64
	maxSide   = 5120
	maxPixels = 3840 * 2160 // 33 MB of memory

	// maxViewers of one desktop; each holds 1 to 4 MB.
	maxViewers = 256

	// handshakeTimeout is for the whole of it, which a browser does unasked.
	handshakeTimeout = 10 * time.Second

	// acceptPause is how long to wait for a file descriptor to come free.
	acceptPause = 100 * time.Millisecond
)

// Options of a desktop; the zero value is usable.
type Options struct {
	Name          string      // shown, and told to viewers; "" means "StreamSpace demo"
	Width, Height int         // pixels; 0 means 1280 and 800, what is out of bounds becomes the nearest size that is not
	Log           *zap.Logger // nil: none
}

// Server is one desktop.
type Server struct {
	desktop *desktop
	log     *zap.Logger

	mu      sync.Mutex
	viewers int
}

// New makes a desktop. It starts nothing and holds nothing to be closed.
func New(o Options) *Server {
	if o.Name == "" {
		o.Name = "StreamSpace demo"
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	return &Server{desktop: newDesktop(o.Name, host, fittingSize(o.Width, o.Height)), log: o.Log}
}

// Serve serves every connection that ln accepts until ctx ends, which it
// reports as nil, or ln fails. It closes ln, and returns only after all its
// viewers have ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup
	defer owned.Wait()
	defer cancel()
	owned.Go(func() {
		<-ctx.Done()
		_ = ln.Close()
	})
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			owned.Go(func() { _ = s.ServeConn(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			s.log.Warn("demo desktop can't accept a viewer now", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		default:
			return fmt.Errorf("demo desktop: accept: %w", err)
		}
	}
}

var errLeft = errors.New("the viewer left")

// ServeConn serves one viewer until it leaves or ctx ends, which are nil, or
// it breaks the protocol or its connection fails. It closes conn, and logs how
// the viewer ended.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	ctx, end := context.WithCancelCause(ctx)
	var owned sync.WaitGroup
	owned.Go(func() {
		<-ctx.Done()
		_ = conn.Close()
	})
	end(s.serveViewer(ctx, conn, &owned, end))
	owned.Wait()

	err := context.Cause(ctx)
	if ordinary(err) {
		err = nil
	}
	s.log.Debug("demo viewer ended", zap.Stringer("viewer", conn.RemoteAddr()), zap.Error(err))
	return err
}

// ordinary tells a viewer that left, or was told to, from one that failed.
func ordinary(err error) bool {
	for _, end := range [...]error{
		errLeft, context.Canceled, context.DeadlineExceeded, syscall.EPIPE, syscall.ECONNRESET, io.ErrClosedPipe,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// serveViewer returns when reading has ended; the writer, which owned waits
// for, ends with ctx.
func (s *Server) serveViewer(ctx context.Context, conn net.Conn, owned *sync.WaitGroup, end func(error)) error {
	room := s.enter()
	if room {
		defer s.leave()
	}
	refusal := ""
	if !room {
		refusal = fmt.Sprintf("this demo desktop has %d viewers already; close one of them first", maxViewers)
	}
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := shakeHands(conn, s.desktop, refusal); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	s.log.Debug("demo viewer begins", zap.Stringer("viewer", conn.RemoteAddr()))
	v := s.desktop.join(conn)
	defer s.desktop.leave(v)
	owned.Go(func() { end(v.write(ctx)) })
	return v.read()
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewers == maxViewers {
		return false
	}
	s.viewers++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers--
}
