package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// session is a store.Session as clients see it.
type session struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Org          string      `json:"org"`
	Owner        string      `json:"owner"`
	State        store.State `json:"state"`
	DesiredState store.State `json:"desired_state"`
	Reason       string      `json:"reason"`
	AgentID      string      `json:"agent_id"`
	Runtime      string      `json:"runtime"`
	Endpoint     string      `json:"endpoint"`
	Labels       labels      `json:"labels"`
	Width        int         `json:"width"`
	Height       int         `json:"height"`
	Viewers      int         `json:"viewers"`
	IdleTimeout  duration    `json:"idle_timeout"`
	MaxDuration  duration    `json:"max_duration"`
	LastActivity *time.Time  `json:"last_activity"`
	CreatedAt    *time.Time  `json:"created_at"`
	UpdatedAt    *time.Time  `json:"updated_at"`
	ExpiresAt    *time.Time  `json:"expires_at"`

	EndsAt      *time.Time        `json:"ends_at"`
	EndsBecause store.EndsBecause `json:"ends_because"`
}

func (s *server) sessionView(stored *store.Session) session {
	v := session{
		ID: stored.ID, Name: stored.Name, Org: stored.Org, Owner: stored.Owner,
		State: stored.State, DesiredState: stored.Desired, Reason: stored.Reason,
		AgentID: stored.AgentID, Runtime: stored.Runtime, Endpoint: stored.Endpoint, Labels: stored.Labels,
		Width: stored.Width, Height: stored.Height,
		IdleTimeout: duration(stored.IdleTimeout), MaxDuration: duration(stored.MaxDuration),
		LastActivity: moment(stored.LastActivity), CreatedAt: moment(stored.CreatedAt),
		UpdatedAt: moment(stored.UpdatedAt), ExpiresAt: moment(stored.ExpiresAt),
		EndsAt: moment(stored.EndsAt), EndsBecause: stored.EndsBecause,
	}
	if v.Labels == nil {
		v.Labels = labels{}
	}
	if s.o.Viewers != nil {
		v.Viewers = s.o.Viewers(stored.ID)
	}
	return v
}

// moment is t as clients see it: UTC, milliseconds; null when there is none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// ownSession is the session of the request's path, if the caller may do that to
// it.
func (s *server) ownSession(r *http.Request, c auth.Caller, verb auth.Verb) (*store.Session, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	stored, err := s.o.Store.Session(r.Context(), id)
	if store.CodeOf(err) == store.NotFound {
		return nil, auth.NoSession(id)
	}
	if err != nil {
		return nil, err
	}
	return stored, auth.May(c, verb, stored)
}

func (s *server) createSession(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	wanted := &store.Session{Org: c.Org, Owner: c.Owner}
	err = decodeBody(r, fields{
		"name": &wanted.Name, "runtime": &wanted.Runtime, "labels": (*labels)(&wanted.Labels),
		"width": &wanted.Width, "height": &wanted.Height, "endpoint": &wanted.Endpoint,
		"idle_timeout": (*duration)(&wanted.IdleTimeout), "max_duration": (*duration)(&wanted.MaxDuration),
	})
	if err != nil {
		return err
	}
	if wanted.Endpoint != "" {
		if err := s.checkEndpoint(c, wanted.Endpoint); err != nil {
			return err
		}
	}
	created, err := s.o.CreateSession(r.Context(), wanted, key)
	if err != nil {
		return err
	}
	if auth.May(c, auth.GetSession, created) != nil {
		return store.Errorf(store.Conflict, "this Idempotency-Key was used for another session; choose a new one")
	}
	w.Header().Set("Location", "/api/v1/sessions/"+created.ID)
	return s.writeJSON(w, http.StatusAccepted, s.sessionView(created))
}

func (s *server) checkEndpoint(c auth.Caller, endpoint string) error {
	if err := auth.May(c, auth.CreateDirect, nil); err != nil {
		return err
	}
	if s.o.CheckEndpoint == nil {
		return store.Errorf(store.Invalid, "endpoint %q is not allowed; direct.allow lists what is", clip(endpoint))
	}
	if err := s.o.CheckEndpoint(endpoint); err != nil {
		return store.Errorf(store.Invalid, "endpoint: %v", err)
	}
	return nil
}

func (s *server) listSessions(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	asked, err := sessionFilter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	answer := struct {
		Sessions   []session `json:"sessions"`
		NextCursor string    `json:"next_cursor"`
	}{Sessions: []session{}}
	filter, none := auth.Narrow(c, asked)
	if none {
		return s.writeJSON(w, http.StatusOK, answer)
	}
	page, next, err := s.o.Store.Sessions(store.AllowLag(r.Context()), filter)
	if err != nil {
		return err
	}
	answer.Sessions = make([]session, 0, len(page))
	for _, stored := range page {
		answer.Sessions = append(answer.Sessions, s.sessionView(stored))
	}
	answer.NextCursor = next
	return s.writeJSON(w, http.StatusOK, answer)
}

func sessionFilter(query string) (f store.SessionFilter, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, store.Errorf(store.Invalid, "the query can't be read: %v", err)
	}
	for name, sent := range values {
		value := sent[0]
		if len(sent) > 1 || len(value) > maxFilter {
			return f, store.Errorf(store.Invalid, "%s must be there once, with at most %d bytes", clip(name), maxFilter)
		}
		switch name {
		case "state":
			f.States, err = parseStates(value)
		case "agent":
			f.AgentID, err = parseID("agent", value)
		case "owner":
			f.Owner, err = value, checkText("owner", value, maxFilter)
		case "limit":
			if f.Limit, err = strconv.Atoi(value); err != nil || f.Limit < 1 || f.Limit > store.MaxPage {
				err = store.Errorf(store.Invalid, "limit %q must be a whole number from 1 to %d", clip(value), store.MaxPage)
			}
		case "cursor":
			f.Cursor = value
		default:
			err = store.Errorf(store.Invalid, "unknown parameter %q; there are: agent, cursor, limit, owner, state", clip(name))
		}
		if err != nil {
			return store.SessionFilter{}, err
		}
	}
	return f, nil
}

// parseStates takes states with commas between them.
func parseStates(text string) ([]store.State, error) {
	var states []store.State
	for word := range strings.SplitSeq(text, ",") {
		state := store.State(word)
		if !state.Valid() {
			return nil, store.Errorf(store.Invalid, "state %q is none of %v", clip(word), store.States())
		}
		if !slices.Contains(states, state) {
			states = append(states, state)
		}
	}
	return states, nil
}

func (s *server) getSession(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	stored, err := s.ownSession(r.WithContext(store.AllowLag(r.Context())), c, auth.GetSession)
	if err != nil {
		return err
	}
	return s.writeJSON(w, http.StatusOK, sessionWithStreams{s.sessionView(stored), s.streamsOf(stored.ID)})
}

func (s *server) stopSession(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	stored, err := s.ownSession(r, c, auth.StopSession)
	if err != nil {
		return err
	}
	stopped, err := s.o.StopSession(r.Context(), stored.ID)
	if err != nil {
		return err
	}
	return s.writeJSON(w, http.StatusAccepted, s.sessionView(stopped))
}
