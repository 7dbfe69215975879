package demo

import (
	"io"
	"net"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// sink is a connection whose client reads everything.
type sink struct {
	net.Conn
	written int
}

func (s *sink) Write(p []byte) (int, error) {
	s.written += len(p)
	return io.Discard.Write(p)
}

func benchmarkUpdates(b *testing.B, encoding rfb.Encoding, incremental bool) {
	s := New(Options{})
	out := &sink{}
	v := s.desktop.join(out)
	v.setEncodings([]rfb.Encoding{encoding})
	now := s.desktop.started
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(frameEvery)
		v.request(rfb.UpdateRequest{Incremental: incremental, Area: s.desktop.screen.Area})
		if err := v.send(v.compose(now)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out.written)/float64(b.N), "wire-bytes/op")
}

func BenchmarkFullScreenRaw(b *testing.B)  { benchmarkUpdates(b, rfb.EncodingRaw, false) }
func BenchmarkFullScreenZRLE(b *testing.B) { benchmarkUpdates(b, rfb.EncodingZRLE, false) }
func BenchmarkSteadyRaw(b *testing.B)      { benchmarkUpdates(b, rfb.EncodingRaw, true) }
func BenchmarkSteadyZRLE(b *testing.B)     { benchmarkUpdates(b, rfb.EncodingZRLE, true) }
