package redis

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// message is what edges publish to each other. Each numbers its own, from 1, so
// that the others notice when one is lost.
type message struct {
	From   string `json:"from"` // a Coord's id: an edge that starts anew has another
	Number uint64 `json:"n"`
	Event  *event `json:"event,omitempty"` // nil: a beat, which tells the number of the last event once more
}

// event is all of a store.Event, also what clients of the API are not told.
type event struct {
	store.Event
	Org     string    `json:"org,omitempty"`
	Owner   string    `json:"owner,omitempty"`
	Updated time.Time `json:"updated,omitzero"`
	Node    string    `json:"node,omitempty"`
	Viewers int       `json:"viewers,omitempty"`
	Told    string    `json:"told,omitempty"`
}

func encodeMessage(from string, number uint64, e *store.Event) []byte {
	m := message{From: from, Number: number}
	if e != nil {
		m.Event = &event{Event: *e, Org: e.Org, Owner: e.Owner, Updated: e.Updated, Node: e.Node, Viewers: e.Viewers, Told: e.Told}
	}
	text, err := json.Marshal(m)
	if err != nil { // a time that RFC 3339 can't write: the others read everything again
		return encodeMessage(from, number, &store.Event{Type: "resync"})
	}
	return text
}

// decodeMessage is nil without an event for a beat.
func decodeMessage(text string) (from string, number uint64, e *store.Event, err error) {
	var m message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", 0, nil, err
	}
	if m.From == "" || m.Number == 0 && m.Event != nil {
		return "", 0, nil, errors.New("a message without sender or number")
	}
	if m.Event == nil {
		return m.From, m.Number, nil, nil
	}
	if m.Event.Type == "" {
		return "", 0, nil, errors.New("an event without a type")
	}
	got := m.Event.Event
	got.Org, got.Owner, got.Remote = m.Event.Org, m.Event.Owner, true
	got.Updated, got.Node, got.Viewers, got.Told = m.Event.Updated, m.Event.Node, m.Event.Viewers, m.Event.Told
	if got.Type == "resync" {
		got = resync
	}
	return m.From, m.Number, &got, nil
}
