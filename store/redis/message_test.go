package redis

import (
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func TestMessagesSayAllOfAnEvent(t *testing.T) {
	want := store.Event{
		Type: "session", ID: "1", State: "running", Org: "acme", Owner: "ann",
		EndsAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), EndsBecause: "idle", AgentUp: true,
		Updated: time.Date(2026, 1, 2, 3, 4, 5, 7000, time.UTC), Node: "edge-1", Viewers: 3, Told: "idle",
	}
	from, number, got, err := decodeMessage(string(encodeMessage("edge", 7, &want)))
	want.Remote = true
	if err != nil || from != "edge" || number != 7 || got == nil || *got != want {
		t.Errorf("%s %d %+v, %v", from, number, got, err)
	}
	from, number, got, err = decodeMessage(string(encodeMessage("edge", 0, nil)))
	if err != nil || from != "edge" || number != 0 || got != nil {
		t.Errorf("a beat: %s %d %+v, %v", from, number, got, err)
	}
	unwritable := store.Event{Type: "session", EndsAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, _, got, err = decodeMessage(string(encodeMessage("edge", 8, &unwritable))); err != nil || *got != resync {
		t.Errorf("a time that can't be written: %+v, %v", got, err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(string(encodeMessage("edge", 1, &store.Event{Type: "session", ID: "1", Org: "acme", EndsAt: time.Unix(1, 0).UTC()})))
	f.Add(string(encodeMessage("edge", 3, nil)))
	f.Add(`{"from": "edge", "n": 2, "event": {"type": "resync", "id": "x"}}`)
	f.Add(`{"from": "edge", "n": 2, "event": {"Remote": false, "type": ""}}`)
	f.Add("null")
	f.Fuzz(func(t *testing.T, text string) {
		from, number, e, err := decodeMessage(text)
		if err != nil {
			return
		}
		if from == "" || e != nil && (number == 0 || e.Type == "" || !e.Remote && *e != resync) {
			t.Fatalf("%q was taken for %q %d %+v", text, from, number, e)
		}
		again, n, same, err := decodeMessage(string(encodeMessage(from, number, e)))
		if err != nil || again != from || n != number || (same == nil) != (e == nil) {
			t.Fatalf("%q written anew: %q %d %+v, %v", text, again, n, same, err)
		}
	})
}
