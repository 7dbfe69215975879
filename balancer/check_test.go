package balancer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is an upstream in virtual time that treats each check as the next
// letter of its script says:
//
//	"+" answers 200 at once
//	"-" answers 503 at once
//	"l" answers 204 a nanosecond before the timeout
//	"s" takes the connection and says nothing
//	"h" sends a header and never all of the body
//	"n" never takes the connection
//	"r" refuses the connection
//	"c" closes it without an answer
//	"f" can't be tried: no descriptors here
//
// After its last letter it never takes a connection.
type scripted struct {
	script  string
	timeout time.Duration
	started []time.Time // when checks were made
	open    atomic.Int32
}

func (s *scripted) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.started = append(s.started, time.Now())
	act := byte('n')
	if n := len(s.started); n <= len(s.script) {
		act = s.script[n-1]
	}
	switch act {
	case 'n':
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	case 'r':
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case 'f':
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	ours, theirs := net.Pipe()
	s.open.Add(1)
	go func() {
		defer s.open.Add(-1)
		defer func() { _ = theirs.Close() }()
		s.serve(theirs, act)
	}()
	return ours, nil
}

func (s *scripted) serve(conn net.Conn, act byte) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return
	}
	switch act {
	case '+':
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	case '-':
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	case 'l':
		time.Sleep(s.timeout - 1)
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	case 'h':
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		fallthrough
	case 's':
		_, _ = io.Copy(io.Discard, conn) // until the checker closes it
	}
}

// watched runs a checker with c against script in a bubble, for as long as it
// lasts, and returns what was told, as "time word", counted from the start.
func watched(t *testing.T, c HealthConfig, known health, random float64, script string) (upstream *scripted, results, changes []string) {
	t.Helper()
	upstream = &scripted{script: script, timeout: c.withDefaults().Timeout}
	begin := time.Now()
	at := func(word string) string { return fmt.Sprintf("%s %s", time.Since(begin), word) }
	ctx, stop := context.WithCancel(t.Context())
	checker := &checker{
		config: c, known: known, address: "10.0.0.1:80", host: "app", dial: upstream.dial,
		random: func() float64 { return random },
		told: func(ok bool, why string, _ Answer) {
			results = append(results, at(why))
			if len(results) == len(script) {
				stop()
			}
		},
		changed: func(up bool, why string) {
			word := "down"
			if up {
				word = "up"
			}
			changes = append(changes, at(word))
		},
	}
	checker.run(ctx)
	synctest.Wait()
	if open := upstream.open.Load(); open != 0 {
		t.Errorf("%d connections are left open", open)
	}
	return upstream, results, changes
}

// Random is one half throughout, so intervals are exact and the first check comes
// in the middle of its spread.
func TestHealthChangesAtExactlyTheConfiguredTimes(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		interval, timeout  time.Duration
		healthy, unhealthy int
		known              health
		script             string
		changes            []string
	}{
		// The defaults: 15 s, 5 s, 2, 2.
		{0, 0, 0, 0, healthUnknown, "+", []string{"500ms up"}},
		{0, 0, 0, 0, healthUnknown, "-", []string{"500ms down"}},
		{0, 0, 0, 0, healthUnknown, "+--", []string{"500ms up", "30.5s down"}},
		{0, 0, 0, 0, healthUnknown, "+-+-+--", []string{"500ms up", "1m30.5s down"}},
		{0, 0, 0, 0, healthUnknown, "+--++", []string{"500ms up", "30.5s down", "1m0.5s up"}},
		{0, 0, 0, 0, healthUnknown, "+--+-++", []string{"500ms up", "30.5s down", "1m30.5s up"}},
		// Silence is a failure when the timeout has passed, whatever it is that is missing.
		{0, 0, 0, 0, healthUnknown, "s", []string{"5.5s down"}},
		{0, 0, 0, 0, healthUnknown, "+ss", []string{"500ms up", "35.5s down"}},
		{0, 0, 0, 0, healthUnknown, "+hn", []string{"500ms up", "35.5s down"}},
		{0, 0, 0, 0, healthUnknown, "+rc", []string{"500ms up", "30.5s down"}},
		{0, 0, 0, 0, healthUnknown, "l", []string{"5.499999999s up"}},
		{0, 0, 0, 0, healthUnknown, "+lll", []string{"500ms up"}},
		// Other numbers.
		{2 * time.Second, time.Second, 1, 1, healthUnknown, "+-+r", []string{"500ms up", "2.5s down", "4.5s up", "6.5s down"}},
		{200 * ms, 100 * ms, 3, 2, healthUnknown, "+-+--++-+++", []string{"100ms up", "900ms down", "2.1s up"}},
		{200 * ms, 100 * ms, 2, 3, healthUnknown, "+sss++", []string{"100ms up", "800ms down", "1.1s up"}},
		{time.Minute, 10 * time.Second, 2, 1, healthUnknown, "+n++", []string{"500ms up", "1m10.5s down", "3m0.5s up"}},
		// The timeout as long as the interval: the next check comes when the last has ended.
		{time.Second, time.Second, 2, 2, healthUnknown, "+ss++", []string{"500ms up", "3.5s down", "4.5s up"}},
		// What is known from before a reload is not forgotten.
		{0, 0, 0, 0, healthUp, "-+--", []string{"45.5s down"}},
		{0, 0, 0, 0, healthDown, "+-++", []string{"45.5s up"}},
		{0, 0, 0, 0, healthUp, "+++", nil},
		// What the edge itself lacks says nothing about the upstream.
		{0, 0, 0, 0, healthUnknown, "f+fff-ff-", []string{"15.5s up", "2m0.5s down"}},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			config := HealthConfig{Path: "/", Interval: test.interval, Timeout: test.timeout, Healthy: test.healthy, Unhealthy: test.unhealthy}
			if faults := config.Validate(); len(faults) > 0 {
				t.Fatalf("%+v: %v", test, faults)
			}
			_, results, changes := watched(t, config, test.known, 0.5, test.script)
			if !slices.Equal(changes, test.changes) {
				t.Errorf("%+v: changed at %q after %q", test, changes, results)
			}
		})
	}
}

func TestEveryResultIsToldInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, results, _ := watched(t, HealthConfig{Path: "/"}, healthUnknown, 0.5, "+-lshnrcf")
		want := []string{
			"500ms answered 200", "15.5s answered 503, not 200-399", "35.499999999s answered 204",
			"50.5s no answer within 5s", "1m5.5s no answer within 5s", "1m20.5s no connection within 5s",
			"1m30.5s connection refused", "1m45.5s closed the connection without an answer", "2m0.5s too many open files",
		}
		if !slices.Equal(results, want) {
			t.Errorf("told\n%s\nwant\n%s", strings.Join(results, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestTCPChecksOnlyConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, results, changes := watched(t, HealthConfig{TCP: true, Interval: time.Second}, healthUnknown, 0.5, "-+rns")
		if want := []string{"500ms took a connection", "1.5s took a connection", "2.5s connection refused", "4.5s no connection within 1s", "4.5s took a connection"}; !slices.Equal(results, want) {
			t.Errorf("told %q, want %q", results, want)
		}
		if want := []string{"500ms up", "4.5s down"}; !slices.Equal(changes, want) {
			t.Errorf("changed %q, want %q", changes, want)
		}
	})
}

func TestJitterIsATenthAndTheFirstCheckIsSpread(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		random   float64
		want     []string
	}{
		{10 * time.Second, 0, []string{"0s", "9s", "18s", "27s"}},
		{10 * time.Second, 1, []string{"1s", "12s", "23s", "34s"}},
		{10 * time.Second, 0.75, []string{"750ms", "11.25s", "21.75s", "32.25s"}},
		{100 * time.Millisecond, 0, []string{"0s", "90ms", "180ms", "270ms"}},
		{100 * time.Millisecond, 1, []string{"100ms", "210ms", "320ms", "430ms"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			upstream, _, _ := watched(t, HealthConfig{Path: "/", Interval: test.interval}, healthUnknown, test.random, "++++")
			var got []string
			for _, at := range upstream.started {
				got = append(got, at.Sub(begin).String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%s with %g: checked at %v, want %v", test.interval, test.random, got, test.want)
			}
		})
	}
}

func TestChecksOfOneUpstreamNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		upstream, _, _ := watched(t, HealthConfig{Path: "/", Interval: time.Second, Timeout: time.Second}, healthUnknown, 0, "sss+")
		for i, want := range []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second} {
			if got := upstream.started[i].Sub(begin); got != want {
				t.Errorf("check %d began at %s, want %s", i, got, want)
			}
		}
	})
}

func TestTheEndOfAContextEndsACheckUntold(t *testing.T) {
	for _, act := range []string{"s", "h", "n"} {
		for _, after := range []time.Duration{0, 2 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				upstream := &scripted{script: act}
				c := &checker{
					config: HealthConfig{Path: "/"}, dial: upstream.dial, random: func() float64 { return 0.5 },
					told:    func(ok bool, why string, _ Answer) { t.Errorf("%s: told %v, %s", act, ok, why) },
					changed: func(up bool, why string) { t.Errorf("%s: changed to %v, %s", act, up, why) },
				}
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				begin := time.Now()
				c.run(ctx)
				if took := time.Since(begin); took != after {
					t.Errorf("%s: returned after %s, want %s", act, took, after)
				}
				synctest.Wait()
				if open := upstream.open.Load(); open != 0 {
					t.Errorf("%s: %d connections are left open", act, open)
				}
			})
		}
	}
}

func TestWithoutACheckTheUpstreamIsUp(t *testing.T) {
	var changes []string
	c := &checker{changed: func(up bool, why string) { changes = append(changes, fmt.Sprint(up, " ", why)) }}
	c.run(t.Context())
	if want := []string{"true it is not checked"}; !slices.Equal(changes, want) {
		t.Errorf("told %q, want %q", changes, want)
	}
	(&checker{}).run(t.Context()) // and nobody has to listen
}
