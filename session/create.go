package session

import (
	"context"
	"errors"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Bounds of what a session may ask for.
const (
	maxName       = 100  // characters
	minSize       = 64   // pixels; below it no desktop is usable
	maxSize       = 8192 // pixels; Xvnc's framebuffers end there in practice
	maxLabels     = 32
	maxLabelKey   = 63  // bytes, as in other label systems
	maxLabelValue = 255 // bytes
)

// Create places a session, stores it and returns it pending; it will be
// started even if the edge is killed right after. It reads Name, Org, Owner,
// Runtime, Labels, Width, Height, Endpoint, IdleTimeout and MaxDuration of s
// and leaves s as it is. With an idempotencyKey that this owner used before it
// returns the session of that first call. Errors: Invalid, NoAgent, Limit (the
// owner has Options.PerUser already), Unavailable.
func (m *Manager) Create(ctx context.Context, s *store.Session, idempotencyKey string) (*store.Session, error) {
	if err := validate(s); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	now := m.storeNow()
	row := &store.Session{
		ID: id.String(), Name: orElse(s.Name, nameOf(s.Labels[EndpointLabel])), Org: s.Org, Owner: s.Owner,
		State: store.Pending, Desired: store.Running,
		Runtime: s.Runtime, Labels: s.Labels, Width: s.Width, Height: s.Height, Endpoint: s.Endpoint,
		IdleTimeout: s.IdleTimeout, MaxDuration: s.MaxDuration,
		CreatedAt: now, UpdatedAt: now, LastActivity: now,
	}
	if s.MaxDuration > 0 {
		row.ExpiresAt = now.Add(s.MaxDuration)
	}
	if row.Endpoint != "" {
		return m.insert(ctx, row, idempotencyKey)
	}
	for unfit := map[string]string{}; ; {
		agentID, why, err := m.choose(ctx, row, unfit)
		if err != nil {
			return nil, err
		}
		if agentID == "" {
			return m.createdBefore(ctx, row, idempotencyKey, why)
		}
		row.AgentID = agentID
		stored, err := m.insert(ctx, row, idempotencyKey)
		m.settled(agentID)
		var no unfitError
		if !errors.As(err, &no) {
			return stored, err
		}
		unfit[agentID] = string(no)
	}
}

// createdBefore answers a request for which there is no room: with what the
// same request got earlier, or with why there is none.
func (m *Manager) createdBefore(ctx context.Context, row *store.Session, idempotencyKey string, why tally) (*store.Session, error) {
	if idempotencyKey != "" {
		first, err := m.o.Store.SessionByKey(ctx, row.Org, row.Owner, idempotencyKey)
		if store.CodeOf(err) != store.NotFound {
			return first, err
		}
	}
	return nil, store.Errorf(store.NoAgent, "%s", why)
}

func (m *Manager) insert(ctx context.Context, row *store.Session, idempotencyKey string) (*store.Session, error) {
	stored, created, err := m.o.Store.AdmitSession(ctx, row, idempotencyKey, store.Admission{Quota: m.quota(), Fits: m.fits(row)})
	if err != nil || !created {
		return stored, err
	}
	if stored.AgentID != "" {
		m.o.Metrics.placements.WithLabelValues(placed).Inc()
	}
	m.changed("", stored, "")
	m.queue.kick(stored.ID)
	return stored, nil
}

// quota bounds an owner's sessions; nil: there is no bound.
func (m *Manager) quota() func(sessions int) error {
	most := m.o.PerUser
	if most == 0 {
		return nil
	}
	return func(sessions int) error {
		if sessions < most {
			return nil
		}
		return store.Errorf(store.Limit, "this user has %d sessions that have not ended, and limits.sessions_per_user allows %d; end one first", sessions, most)
	}
}

// Stop asks for a session's end and returns it as it is now; asking again
// changes nothing. Errors: NotFound, Unavailable.
func (m *Manager) Stop(ctx context.Context, id string) (*store.Session, error) {
	return m.stop(ctx, id, "")
}

func (m *Manager) stop(ctx context.Context, id, reason string) (*store.Session, error) {
	s, _, err := m.update(ctx, id, func(s *store.Session) error {
		if s.Ended() || s.Desired == store.Terminated {
			return store.ErrUnchanged
		}
		s.State, s.Desired, s.Reason = ending(s), store.Terminated, reason
		return nil
	})
	m.queue.kick(id)
	return s, err
}

func validate(s *store.Session) error {
	switch {
	case utf8.RuneCountInString(s.Name) > maxName:
		return store.Errorf(store.Invalid, "name has %d characters; at most %d", utf8.RuneCountInString(s.Name), maxName)
	case !printable(s.Name):
		return store.Errorf(store.Invalid, "name %q has characters that can't be shown; use printable ones", s.Name)
	case s.IdleTimeout < 0:
		return store.Errorf(store.Invalid, "idle_timeout %v is negative; 0 means never", s.IdleTimeout)
	case s.MaxDuration < 0:
		return store.Errorf(store.Invalid, "max_duration %v is negative; 0 means no end", s.MaxDuration)
	case s.Endpoint != "" && s.Runtime != "":
		return store.Errorf(store.Invalid, "runtime %q and endpoint exclude each other: no agent starts a session with an endpoint", s.Runtime)
	case s.Endpoint != "" && len(s.Labels) > 0:
		return store.Errorf(store.Invalid, "labels and endpoint exclude each other: no agent starts a session with an endpoint")
	case len(s.Labels) > maxLabels:
		return store.Errorf(store.Invalid, "labels has %d entries; at most %d", len(s.Labels), maxLabels)
	}
	for field, pixels := range map[string]int{"width": s.Width, "height": s.Height} {
		if pixels != 0 && (pixels < minSize || pixels > maxSize || pixels%2 != 0) {
			return store.Errorf(store.Invalid, "%s %d is not possible; an even number from %d to %d, or 0 for the default", field, pixels, minSize, maxSize)
		}
	}
	for key, value := range s.Labels {
		if key == "" || len(key) > maxLabelKey || !printable(key) {
			return store.Errorf(store.Invalid, "labels has the key %q; use 1 to %d printable characters", key, maxLabelKey)
		}
		if len(value) > maxLabelValue || !printable(value) {
			return store.Errorf(store.Invalid, "labels.%s has a value of %d bytes; use at most %d printable characters", key, len(value), maxLabelValue)
		}
	}
	return nil
}

// nameOf is an endpoint's name as a session's, or nothing when a session may not
// be called so.
func nameOf(endpoint string) string {
	if utf8.RuneCountInString(endpoint) > maxName || !printable(endpoint) {
		return ""
	}
	return endpoint
}

func printable(text string) bool {
	for _, r := range text {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
