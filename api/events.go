package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	eventCheckEvery = 30 * time.Second // a ping, and whether the caller's key still exists
	eventPatience   = 10 * time.Second // for a client to take an event or answer a ping
)

// events sends what changes to one client until it leaves, its key ends, it
// takes nothing for eventPatience, or the edge leaves. It listens before it
// answers, so nothing that happens after the 101 is missed.
func (s *server) events(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	if err := checkHandshake(w, r); err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return store.Errorf(store.Limit, "%d clients listen to events already; close some", maxEventStreams)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the request's own ends with its time
	defer cancel()
	changes := s.o.Coord.Subscribe(ctx)

	up := upgradeWriter{w.(*recorder)}
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // auth has checked the origin
	if err != nil {
		s.o.Log.Debug("an event stream could not be opened", zap.Error(err))
		return nil
	}
	up.end()
	s.o.Metrics.streams.Inc()
	defer s.o.Metrics.streams.Dec()
	defer func() { _ = ws.CloseNow() }()
	s.sendEvents(ws.CloseRead(ctx), ws, c, changes)
	return nil
}

// sendEvents returns when ctx ends, which is when the client has left.
func (s *server) sendEvents(ctx context.Context, ws *websocket.Conn, c auth.Caller, changes <-chan store.Event) {
	check := time.NewTicker(eventCheckEvery)
	defer check.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case e, open := <-changes:
			if !open {
				_ = ws.Close(websocket.StatusServiceRestart, "the edge is leaving; connect again")
				return
			}
			if auth.Sees(c, e) {
				err = sendEvent(ctx, ws, e)
			}
		case <-check.C:
			if s.ended(ctx, c) {
				_ = ws.Close(websocket.StatusPolicyViolation, "the key was deleted or has expired; log in again")
				return
			}
			err = ping(ctx, ws)
		}
		if err != nil {
			return
		}
	}
}

// ended tells whether the caller's key is gone. While the store does not
// answer, it is not.
func (s *server) ended(ctx context.Context, c auth.Caller) bool {
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	return store.CodeOf(s.o.Auth.Check(ctx, c)) == store.Unauthorized
}

func sendEvent(ctx context.Context, ws *websocket.Conn, e store.Event) error {
	e.EndsAt = e.EndsAt.UTC().Truncate(time.Millisecond) // as moment; none stays none
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	return ws.Write(ctx, websocket.MessageText, text)
}

func ping(ctx context.Context, ws *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	return ws.Ping(ctx)
}
