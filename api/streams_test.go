package api

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

var opened = time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("", 3600))

// twoStreams are a viewer of whom everything is known and an older one of whom
// nothing is measured yet.
func twoStreams(string) []Stream {
	return []Stream{
		{
			ID: "second", Viewer: "alice", Ticket: "t2", Mode: auth.ModeControl, Since: opened,
			RTT: &Quantiles{12.5, 40}, Response: &Quantiles{30, 90}, Gap: &Quantiles{100, 250},
			Stalls: 3, BytesToViewer: 1 << 40, BytesFromViewer: 4096,
		},
		{ID: "first", Mode: auth.ModeView, Since: opened.Add(-time.Hour)},
	}
}

func TestASessionTellsOfItsStreams(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Streams = twoStreams })
	a := w.want(200, w.call(alice, "GET", "/api/v1/sessions/"+w.addSession(), ""))
	const want = `"streams":[` +
		`{"id":"first","viewer":"","ticket":"","mode":"view","since":"2026-01-02T01:04:05.678Z","rtt_ms":null,"response_ms":null,"gap_ms":null,` +
		`"stalls":0,"bytes_to_viewer":0,"bytes_from_viewer":0},` +
		`{"id":"second","viewer":"alice","ticket":"t2","mode":"control","since":"2026-01-02T02:04:05.678Z","rtt_ms":{"p50":12.5,"p95":40},` +
		`"response_ms":{"p50":30,"p95":90},"gap_ms":{"p50":100,"p95":250},"stalls":3,"bytes_to_viewer":1099511627776,"bytes_from_viewer":4096}]`
	if !strings.Contains(string(a.body), want) {
		t.Errorf("%s\nis without\n%s", a.body, want)
	}
}

func TestASessionWithoutStreamsHasAnEmptyList(t *testing.T) {
	for name, streams := range map[string]func(string) []Stream{
		"nobody tells": nil, "there are none": func(string) []Stream { return nil },
	} {
		w := newWorld(t, func(o *Options) { o.Streams = streams })
		a := w.want(200, w.call(alice, "GET", "/api/v1/sessions/"+w.addSession(), ""))
		if !strings.Contains(string(a.body), `"streams":[]`) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// TestStreamsAreToldToWhoMaySeeTheSession, and not even asked for others.
func TestStreamsAreToldToWhoMaySeeTheSession(t *testing.T) {
	var asked atomic.Int32
	w := newWorld(t, func(o *Options) {
		o.Streams = func(id string) []Stream { asked.Add(1); return twoStreams(id) }
	})
	path := "/api/v1/sessions/" + w.addSession()
	for caller, status := range map[string]int{bob: 404, stranger: 404, joiner: 403, nobody: 401, guesser: 401} {
		a := w.call(caller, "GET", path, "")
		if a.status != status || strings.Contains(string(a.body), "streams") || asked.Load() != 0 {
			t.Errorf("%s: status %d, want %d; asked %d times: %s", caller, a.status, status, asked.Load(), a.body)
		}
	}
	for _, caller := range []string{admin, alice} {
		if a := w.call(caller, "GET", path, ""); a.status != 200 || !strings.Contains(string(a.body), `"id":"second"`) {
			t.Errorf("%s: status %d: %s", caller, a.status, a.body)
		}
	}
}

func TestOnlyTheAnswerAboutOneSessionHasStreams(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Streams = twoStreams })
	path := "/api/v1/sessions/" + w.addSession()
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/api/v1/sessions", 200}, {"POST", "/api/v1/sessions", 202}, {"DELETE", path, 202}} {
		if a := w.want(c.status, w.call(alice, c.method, c.path, "")); strings.Contains(string(a.body), "streams") {
			t.Errorf("%s %s: %s", c.method, c.path, a.body)
		}
	}
}

func TestASessionTellsOfItsAnnouncedEnd(t *testing.T) {
	w := newWorld(t)
	id := w.addSession()
	for _, c := range []struct {
		at      time.Time
		because store.EndsBecause
		want    string
	}{
		{time.Time{}, "", `"ends_at":null,"ends_because":""`},
		{opened, store.EndsIdle, `"ends_at":"2026-01-02T02:04:05.678Z","ends_because":"idle_timeout"`},
		{opened, store.EndsMaxDuration, `"ends_at":"2026-01-02T02:04:05.678Z","ends_because":"max_duration"`},
	} {
		if _, err := w.store.UpdateSession(context.Background(), id, func(s *store.Session) error {
			s.EndsAt, s.EndsBecause = c.at, c.because
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/api/v1/sessions", "/api/v1/sessions/" + id} {
			if a := w.want(200, w.call(alice, "GET", path, "")); !strings.Contains(string(a.body), c.want) {
				t.Errorf("GET %s: %s is without %s", path, a.body, c.want)
			}
		}
	}
}
