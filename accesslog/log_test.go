package accesslog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func valueOf(c prometheus.Counter) float64 {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		panic(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Sample == 0 {
		o.Sample = 1
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t testing.TB, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range bytes.Lines(text) {
		var told struct {
			ID string `json:"request_id"`
		}
		if err := json.Unmarshal(line, &told); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		ids = append(ids, told.ID)
	}
	return ids
}

func TestLinesAreThereAfterASecond(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{File: file})
		l.Write(&Entry{RequestID: "1", Ended: Done})
		time.Sleep(flushEvery - time.Millisecond)
		synctest.Wait()
		if ids := read(t, file); len(ids) != 0 {
			t.Errorf("%v was written at once", ids)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if ids := read(t, file); len(ids) != 1 {
			t.Errorf("%v after a second", ids)
		}
		l.Write(&Entry{RequestID: "2", Ended: Done})
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if ids := read(t, file); len(ids) != 2 {
			t.Errorf("%v after the end", ids)
		}
		l.Write(&Entry{RequestID: "3"})
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestManyWritersLoseNothingWithinTheBound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	l := open(t, Options{File: file})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 500 { // 8 * 500 lines of 130 bytes are less than maxWaiting
				l.Write(&Entry{RequestID: fmt.Sprintf("%d-%d", w, i), Status: 200, Ended: Done})
			}
		})
	}
	writers.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, id := range read(t, file) {
		seen[id] = true
	}
	if len(seen) != 4000 || valueOf(l.options.Metrics.written) != 4000 {
		t.Errorf("%d lines", len(seen))
	}
}

// TestAFileThatTakesNothingHoldsNobodyUp: nobody reads the pipe, so the writer
// hangs; what does not fit is counted and told once a minute.
func TestAFileThatTakesNothingHoldsNobodyUp(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log, told := observer.New(zap.WarnLevel)
	m := NewMetrics(prometheus.NewRegistry())
	l := newLog(Options{File: "pipe", Sample: 1, Metrics: m, Log: zap.New(log)}, w)
	go l.run()
	long := &Entry{Path: bytes.Repeat([]byte("x"), mostPath), Ended: Done}
	const n = 5000 // of more than 1 KiB each
	for range n {
		l.Write(long)
	}
	if lost := valueOf(m.overflowed); lost == 0 || lost >= n {
		t.Errorf("%v of %d lines found no room", lost, n)
	}
	lines := make(chan int)
	go func() {
		count := 0
		for in := bufio.NewReader(r); ; count++ {
			if _, err := in.ReadString('\n'); err != nil {
				break // what has no end is one of those that failed
			}
		}
		lines <- count
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := float64(<-lines)
	if sum := got + valueOf(m.overflowed) + valueOf(m.failed); sum != n {
		t.Errorf("%v lines came, %v overflowed, %v failed: %v of %d", got, valueOf(m.overflowed), valueOf(m.failed), sum, n)
	}
	if told.Len() != 1 {
		t.Errorf("the log was told %d times", told.Len())
	}
}

// TestAFullDiskIsCountedAndToldOnceAMinute: /dev/full is one.
func TestAFullDiskIsCountedAndToldOnceAMinute(t *testing.T) {
	log, told := observer.New(zap.WarnLevel)
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(prometheus.NewRegistry())
		l := open(t, Options{File: "/dev/full", Metrics: m, Log: zap.New(log)})
		for i := range 90 {
			l.Write(&Entry{RequestID: "x", Ended: Done})
			time.Sleep(flushEvery)
			synctest.Wait()
			if want := float64(i + 1); valueOf(m.failed) != want {
				t.Errorf("%v failed, want %v", valueOf(m.failed), want)
			}
		}
		if n := told.Len(); n != 2 {
			t.Errorf("in 90 s it was told %d times", n)
		}
		if first := told.All()[0]; !strings.Contains(fmt.Sprint(first.ContextMap()["error"]), "no space left") {
			t.Errorf("%v", first.ContextMap())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestACutLineDoesNotSpoilTheNext: the disk fills amid a line and has room again
// later.
func TestACutLineDoesNotSpoilTheNext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	f, err := openFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(Options{File: file, Sample: 1, Metrics: NewMetrics(prometheus.NewRegistry()), Log: zap.NewNop()}, f)
	if _, err := f.WriteString(`{"cut":`); err != nil {
		t.Fatal(err)
	}
	l.midLine = true
	l.Write(&Entry{RequestID: "next", Ended: Done})
	l.flush()
	_ = f.Close()
	text, _ := os.ReadFile(file)
	if !strings.HasPrefix(string(text), "{\"cut\":\n{\"time\"") {
		t.Errorf("%q", text)
	}
}

func TestReopenGoesOverToTheNewFile(t *testing.T) {
	folder := t.TempDir()
	file, rotated := filepath.Join(folder, "access.log"), filepath.Join(folder, "access.log.1")
	l := open(t, Options{File: file})
	l.Write(&Entry{RequestID: "before", Ended: Done})
	if err := os.Rename(file, rotated); err != nil {
		t.Fatal(err)
	}
	l.Write(&Entry{RequestID: "between", Ended: Done})
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write(&Entry{RequestID: "after", Ended: Done})
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder, folder+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("a folder that is gone is no fault")
	}
	l.Write(&Entry{RequestID: "still", Ended: Done})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder+"-gone", folder); err != nil {
		t.Fatal(err)
	}
	if ids := read(t, rotated); fmt.Sprint(ids) != "[before between]" {
		t.Errorf("the old file has %v", ids)
	}
	if ids := read(t, file); fmt.Sprint(ids) != "[after still]" {
		t.Errorf("the new file has %v", ids)
	}
	if err := l.Reopen(); err == nil {
		t.Error("a closed log was reopened")
	}
}

func TestSamplingGoesByTheRequestAndKeepsWhatFailed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	l := open(t, Options{File: file, Sample: 0.25})
	const n = 1000
	for i := range n {
		id := fmt.Sprintf("id-%d", i)
		l.Write(&Entry{RequestID: id, Status: 200, Ended: Done})
		l.Write(&Entry{RequestID: id, Status: 200, Ended: Done}) // told again, or left out again
	}
	l.Write(&Entry{RequestID: "id-1", Status: 502, Ended: Done})
	l.Write(&Entry{RequestID: "id-2", Status: 429, Ended: "rate_limited"})
	l.Write(&Entry{RequestID: "id-3", Status: 200, Ended: UpstreamFailed})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ids := read(t, file)
	if tail := fmt.Sprint(ids[len(ids)-3:]); tail != "[id-1 id-2 id-3]" {
		t.Errorf("the failures: %v", tail)
	}
	ids = ids[:len(ids)-3]
	for i := 0; i+1 < len(ids); i += 2 {
		if ids[i] != ids[i+1] {
			t.Fatalf("%s was told once", ids[i])
		}
	}
	if told := len(ids) / 2; told < n/5 || told > n*3/10 {
		t.Errorf("%d of %d were told", told, n)
	}
}

func TestALineCostsNoAllocation(t *testing.T) {
	l := open(t, Options{File: "/dev/null"})
	defer l.Close()
	e := full()
	if n := testing.AllocsPerRun(1000, func() { l.Write(e) }); n > 0 {
		t.Errorf("%v", n)
	}
	var off *Log
	off.Write(e)
	if off.Reopen() != nil || off.Close() != nil {
		t.Error("a log that is off does something")
	}
}

func BenchmarkWrite(b *testing.B) {
	l := open(b, Options{File: "/dev/null"})
	defer l.Close()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		e := full()
		for p.Next() {
			l.Write(e)
		}
	})
}
