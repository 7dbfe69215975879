package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestBenchHTTPMeasuresWhatIsInstalled is the whole thing, small.
func TestBenchHTTPMeasuresWhatIsInstalled(t *testing.T) {
	of := httpComparison()
	here, missing := installed(of.systems)
	if len(missing) > 0 {
		t.Fatalf("not installed: %v", missing)
	}
	for name, c := range map[string]struct{ works, systems []string }{
		"every system": {[]string{workSmall}, systemNames(here)},
		"every work":   {[]string{workFirst, workBody64K, workNew, workHandshake, workSteady}, []string{edge}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runBench(t, of, c.works, c.systems, "--duration", "1s", "--clients", "4", "--rate", "200")
		})
	}
}

// pretended is a system that answers as the upstreams do, the first answers at
// least, and otherwise as handler does.
func pretended(t *testing.T, first int64, handler http.HandlerFunc) system {
	var answered atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answered.Add(1) > first {
			handler(w, r)
			return
		}
		_, _ = w.Write([]byte(smallBody()))
	}))
	t.Cleanup(server.Close)
	return system{name: "pretended", start: func(_ context.Context, s *site) error {
		s.door = door{Address: server.Listener.Addr().String()}
		_, err := s.run("pretended", "/bin/sleep", "600")
		return err
	}}
}

func measureOne(t *testing.T, ctx context.Context, name string, sys system) (Measurement, error) {
	t.Helper()
	of := httpComparison()
	chosen, err := of.chooseWorks([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{comparison: of, folder: t.TempDir(), options: Options{Program: program, Duration: time.Second, Clients: 4, Rate: 400}}
	return measureHTTP(ctx, r, chosen[0], sys, 1)
}

func TestWhatAnswersWrongIsNotMeasured(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	cut := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("short")) }
	hang := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, c := range []struct {
		name, work string
		answer     http.HandlerFunc
		want       string
	}{
		{"refused, by wrk", workSmall, refuse, "had a status of 400 or more"},
		{"closed, by wrk", workNew, hang, `[1-9]\d* reads`},
		{"refused at a rate", workSteady, refuse, "status 503"},
		{"another body at a rate", workSteady, cut, "5 bytes"},
		{"another body to who arrives", workHandshake, cut, "5 bytes"},
		{"closed at a rate", workSteady, hang, "client "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const examined = 2
			m, err := measureOne(t, t.Context(), c.work, pretended(t, examined, c.answer))
			if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("%v, %+v", err, m)
			}
		})
	}
}

func TestASystemIsWhatTheReportCallsIt(t *testing.T) {
	with := func(cookies ...string) *http.Response {
		return &http.Response{Header: http.Header{"Set-Cookie": cookies}}
	}
	resumed := func(yes bool) *http.Response { return &http.Response{TLS: &tls.ConnectionState{DidResume: yes}} }
	for _, c := range []struct {
		cookie       bool
		first, again *http.Response
		want         string
	}{
		{true, with("a=1"), with(), ""},
		{true, with("a=1"), resumed(true), ""},
		{false, with(), with(), ""},
		{true, with(), with(), "has 0 cookies"},
		{true, with("a=1", "b=2"), with(), "has 2 cookies"},
		{false, with("a=1"), with(), "should set none"},
		{true, with("a=1"), with("a=2"), "gets another one"},
		{true, with("a=1"), resumed(false), "is not resumed"},
	} {
		err := system{cookie: c.cookie}.otherwise(c.first, c.again)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestWrkThatIsStoppedLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	ended := make(chan error, 1)
	go func() {
		ended <- HTTP(ctx, Options{Program: program, Works: []string{workSmall}, Systems: []string{edge}, Rounds: 1, Clients: 4, Rate: 1,
			Duration: time.Hour, Out: t.TempDir(), Progress: t.Output(), Table: t.Output()})
	}()
	eventually(t, "wrk does not run", func() bool {
		for _, line := range commandLines(t, temp) {
			if strings.Contains(line, "wrk\x00") && strings.Contains(line, "\x003600s\x00") {
				return true
			}
		}
		return false
	})
	cancel(stopped)
	if err := <-ended; !errors.Is(err, stopped) {
		t.Error(err)
	}
	nothingIsLeft(t, temp)
}
