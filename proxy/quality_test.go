package proxy

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

func TestAStreamTellsHowWellItServes(t *testing.T) {
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, _ byte) {
			b := make([]byte, len(key))
			for {
				if _, err := io.ReadFull(conn, b); err != nil {
					return
				}
				_, _ = conn.Write(make([]byte, 1000))
			}
		})
		e := startEdge(t, Options{Authorize: granting(Control)}, server.addr, options...)
		conn, _ := e.viewStream()
		enter(t, conn)
		const inputs = 5
		for range inputs {
			time.Sleep(2 * sameUpdate)
			_, _ = conn.Write(key)
			if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		var q Quality
		eventually(t, "the pong and the last bytes are counted", func() bool {
			q = e.Quality("session-1")[0]
			return q.RTT.Count == 1 && q.Response.Count == inputs
		})
		if q.Response.P50 <= 0 || q.Response.P95 < q.Response.P50 {
			t.Errorf("%d responses: %+v", inputs, q.Response)
		}
		if q.Gap.Count < inputs-1 || q.Gap.P50 < sameUpdate {
			t.Errorf("gaps of 8 ms and more: %+v", q.Gap)
		}
		hello := int64(greetingSize + 2 + 4 + 24 + len("test"))
		q = e.Quality("session-1")[0]
		if q.ToViewer != uint64(hello+inputs*1000) || q.FromViewer != uint64(greetingSize+1+1+inputs*len(key)) {
			t.Errorf("%d bytes to the viewer and %d from it", q.ToViewer, q.FromViewer)
		}
		if n := e.counter("streamspace_vnc_response_seconds", ""); n != inputs {
			t.Errorf("%v responses in the metrics", n)
		}
		if n := e.counter("streamspace_vnc_rtt_seconds", ""); n != 1 {
			t.Errorf("%v round trips in the metrics", n)
		}
		if e.Quality("another") == nil || len(e.Quality("another")) != 0 {
			t.Error("another session has streams")
		}
	})
}

func TestAViewerThatTakesNothingStalls(t *testing.T) {
	server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, _ byte) {
		for {
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	e := startEdge(t, Options{Authorize: granting(Control)}, server.addr)
	conn, _ := e.viewStream()
	enter(t, conn)
	eventually(t, "it stalls", func() bool { return e.Quality("session-1")[0].Stalls > 0 })
	if n := e.counter("streamspace_vnc_stalls_total", ""); n < 1 {
		t.Errorf("%v stalls in the metrics", n)
	}
}

func TestSpreadIsWithinAFifth(t *testing.T) {
	var empty histogram
	if s := empty.spread(); s != (Spread{}) {
		t.Errorf("of nothing: %+v", s)
	}
	for d := finest; d < 30*time.Second; d = d * 107 / 100 {
		var h histogram
		h.observe(d)
		for _, got := range []time.Duration{h.spread().P50, h.spread().P95} {
			if off := float64(got-d) / float64(d); off > 0.2 || off < -0.2 {
				t.Fatalf("%v is told as %v", d, got)
			}
		}
	}
	var h histogram
	for range 90 {
		h.observe(10 * time.Millisecond)
	}
	for range 10 {
		h.observe(time.Second)
	}
	h.observe(0)
	h.observe(time.Hour) // counted in the last bucket
	s := h.spread()
	if s.Count != 102 || s.P50 > 12*time.Millisecond || s.P95 < 800*time.Millisecond || s.P95 > 1200*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

// TestAStreamKeepsToItsBandwidth: fast enough is a matter of the machine, too
// fast is not.
func TestAStreamKeepsToItsBandwidth(t *testing.T) {
	const rate, size = 1 << 20, 1 << 20
	transports(t, func(t *testing.T, options ...edgeOption) {
		server := startRFB(t, rfb.SecurityNone, func(conn net.Conn, _ byte) { _, _ = conn.Write(make([]byte, size)) })
		e := startEdge(t, Options{Bandwidth: NewBandwidth(rate, 0)}, server.addr, options...)
		begin := time.Now()
		conn, _ := e.viewStream()
		enter(t, conn)
		if _, err := io.ReadFull(conn, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		const chunk = 256 << 10 // moved at once before the stream pauses
		if least := seconds(float64(size-chunk)/rate) - streamBurst; time.Since(begin) < least {
			t.Errorf("%d bytes in %v; the limit allows them in %v", size, time.Since(begin), least)
		}
	})
}
