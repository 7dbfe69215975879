package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// leaseKind is the kind of the edges' leases in the Coord. A lease's id is the
// node's; what one lease has no room for is in further ones, "ID/1" and so on.
const leaseKind = "node"

// maxAgentsText is how many bytes of agent ids go into one lease: a quarter of
// its room is left to the rest.
const maxAgentsText = store.MaxLeaseValue * 3 / 4

// announcement is what an edge says of itself in one lease. It has no time of day in
// it: two edges' clocks may differ.
type announcement struct {
	Node       string `json:"node"`
	Generation uint64 `json:"generation"` // the lease's, signed
	// Sequence grows with each change, so that what a failover of the Coord or
	// anybody else brings back is known as old.
	Sequence uint64   `json:"sequence"`
	Part     int      `json:"part"`  // of Parts; 0 has what is not in the others
	Parts    int      `json:"parts"` // at least 1
	Agents   []string `json:"agents,omitempty"`

	URL        string `json:"url,omitempty"`
	Pin        string `json:"pin,omitempty"`
	Version    string `json:"version,omitempty"`
	Streams    int    `json:"streams,omitempty"`
	MaxStreams int    `json:"max_streams,omitempty"`
	Draining   bool   `json:"draining,omitempty"`
	Leaving    bool   `json:"leaving,omitempty"`

	ClockOffset int64 `json:"clock_offset,omitempty"` // milliseconds
}

func partID(node string, part int) string {
	if part == 0 {
		return node
	}
	return node + "/" + strconv.Itoa(part)
}

// announcementsOf spreads what n has to say over as many parts as it needs.
func announcementsOf(n Node, agents map[string]uint64) []announcement {
	parts := []announcement{{
		Node: n.ID, Generation: n.Generation, URL: n.URL, Pin: n.Pin, Version: n.Version,
		Streams: n.Streams, MaxStreams: n.MaxStreams, Draining: n.Draining, Leaving: n.Leaving,
		ClockOffset: n.ClockOffset.Milliseconds(),
	}}
	room := maxAgentsText
	for _, id := range slices.Sorted(maps.Keys(agents)) {
		text, _ := json.Marshal(id) // a string always has its JSON
		if room -= len(text) + 1; room < 0 {
			parts = append(parts, announcement{Node: n.ID, Generation: n.Generation, Part: len(parts)})
			room = maxAgentsText - len(text) - 1
		}
		last := &parts[len(parts)-1]
		last.Agents = append(last.Agents, id)
	}
	for i := range parts {
		parts[i].Parts = len(parts)
	}
	return parts
}

// seal makes leases that nobody else can make: who writes to the Coord must not
// be able to become an edge.
type seal struct{ key []byte }

func (s seal) sum(text []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(text)
	return mac.Sum(nil)
}

// write is the value of a lease: the HMAC-SHA256 of the JSON behind it.
func (s seal) write(a announcement) ([]byte, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return append(s.sum(text), text...), nil
}

var errForged = errors.New("its signature is not of this cluster; edges of one cluster need the same secret")

// read wants a lease of an edge that has the secret, under its own name and of
// its own generation.
func (s seal) read(l store.Lease) (a announcement, err error) {
	if len(l.Value) < sha256.Size {
		return a, errForged
	}
	text := l.Value[sha256.Size:]
	if !hmac.Equal(s.sum(text), l.Value[:sha256.Size]) {
		return a, errForged
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("what is signed is not JSON: %w", err)
	}
	return a, a.check(l)
}

func (a announcement) check(l store.Lease) error {
	switch {
	case a.Node == "" || a.Part < 0 || a.Part >= a.Parts:
		return fmt.Errorf("it is part %d of %d of node %q", a.Part, a.Parts, a.Node)
	case l.ID != partID(a.Node, a.Part):
		return fmt.Errorf("it belongs to the lease %s", partID(a.Node, a.Part))
	case l.Generation != a.Generation:
		return fmt.Errorf("it belongs to generation %d, the lease is of %d", a.Generation, l.Generation)
	}
	if a.Part > 0 {
		return nil
	}
	if u, err := url.Parse(a.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is not the address of an edge", a.URL)
	}
	return nil
}
