// Package accesslog writes one line of JSON for each request that the edge has
// answered and for each upgraded connection that has ended. Requests never wait
// for it: what its file does not take in time is lost, and counted.
package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Stdout is the name of the standard output as a file.
const Stdout = "stdout"

const (
	maxWaiting  = 1 << 20  // bytes that wait to be written; beyond, lines are lost
	flushAt     = 64 << 10 // bytes that are written without waiting for flushEvery
	flushEvery  = time.Second
	toldEvery   = time.Minute // how often the log says that lines were lost
	closeLimit  = 2 * time.Second
	defaultMode = 0o640
)

// Options are what a Log works with.
type Options struct {
	File    string      // a path, or Stdout
	Sample  float64     // the share of requests that are told, above 0 to 1; what failed or was refused always is
	Log     *zap.Logger // nil: silent
	Metrics *Metrics    // NewMetrics(prometheus.Registerer)
}

// Metrics are a Log's.
type Metrics struct{ written, overflowed, failed prometheus.Counter }

// NewMetrics registers them with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "streamspace_access_log_lost_total", Help: "Lines that are not in the access log, by reason: too many waited (overflow), or the file took no more (write).",
	}, []string{"reason"})
	m := &Metrics{
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "streamspace_access_log_lines_total", Help: "Lines that were written to the access log.",
		}),
		overflowed: lost.WithLabelValues("overflow"),
		failed:     lost.WithLabelValues("write"),
	}
	r.MustRegister(m.written, lost)
	return m
}

// Log is an access log. Its methods are safe for concurrent use, and those of
// nil do nothing.
type Log struct {
	options   Options
	threshold uint64 // of the hash of a request's id

	scratches sync.Pool // of *[]byte

	mu       sync.Mutex
	waiting  []byte
	lines    int // in waiting
	overflow int // lines that found no room since the latest flush
	closed   bool

	full   chan struct{} // flushAt bytes wait
	reopen chan chan error
	end    chan struct{}
	ended  chan struct{}

	// The writer's.
	file    *os.File
	spare   []byte // that waiting becomes next
	midLine bool   // a write has ended amid a line
	lost    int    // since the log last said so
	why     error  // the latest of them
	told    time.Time
}

// Open begins to write to the file, which it makes if need be. Close ends it.
func Open(o Options) (*Log, error) {
	file, err := openFile(o.File)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	l := newLog(o, file)
	go l.run()
	return l, nil
}

func newLog(o Options, file *os.File) *Log {
	l := &Log{
		options: o, threshold: threshold(o.Sample), file: file,
		full: make(chan struct{}, 1), reopen: make(chan chan error), end: make(chan struct{}), ended: make(chan struct{}),
	}
	l.scratches.New = func() any { b := make([]byte, 0, 1024); return &b }
	return l
}

func threshold(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(share * math.MaxUint64)
}

// openFile does not wait for a reader of a named pipe: there has to be one.
func openFile(name string) (*os.File, error) {
	if name == Stdout {
		return os.Stdout, nil
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, defaultMode)
}

// Write adds an entry, unless sampling leaves it out or too many wait. It takes
// what it needs of the entry before it returns, and never waits for the file.
func (l *Log) Write(e *Entry) {
	if l == nil || xxhash.Sum64String(e.RequestID) > l.threshold && !e.notable() {
		return
	}
	scratch := l.scratches.Get().(*[]byte) // a line is made outside of the lock
	line := e.append((*scratch)[:0])
	full := l.add(line)
	*scratch = line
	l.scratches.Put(scratch)
	if full {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

func (l *Log) add(line []byte) (full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting)+len(line) > maxWaiting {
		l.overflow++
		l.options.Metrics.overflowed.Inc()
		return true
	}
	l.waiting = append(l.waiting, line...)
	l.lines++
	return len(l.waiting) >= flushAt
}

// Reopen goes over to the file that has the log's name now, after what waits was
// written to the old one. With an error the old one stays. It waits for the
// writer, at most for closeLimit.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	answer := make(chan error, 1)
	select {
	case l.reopen <- answer:
		return <-answer
	case <-l.ended:
		return os.ErrClosed
	case <-limit.C:
		return errStuck
	}
}

var errStuck = errors.New("the access log's file takes nothing")

// Close writes what waits and ends the log. Entries that come later are lost. It
// returns after closeLimit even if the file takes nothing.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if !again {
		close(l.end)
	}
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-l.ended:
		return nil
	case <-limit.C:
		return errStuck
	}
}

// run is the writer; Close waits for it.
func (l *Log) run() {
	defer close(l.ended)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.full:
			l.flush()
		case <-tick.C:
			l.flush()
		case answer := <-l.reopen:
			l.flush()
			answer <- l.goOver()
		case <-l.end:
			l.flush()
			if l.options.File != Stdout {
				_ = l.file.Close()
			}
			return
		}
	}
}

func (l *Log) goOver() error {
	if l.options.File == Stdout {
		return nil
	}
	file, err := openFile(l.options.File)
	if err != nil {
		return fmt.Errorf("the old file is written on: %w", err)
	}
	_ = l.file.Close() // what it has not kept, nobody can mend
	l.file, l.midLine = file, false
	return nil
}

// flush writes what waits.
func (l *Log) flush() {
	l.mu.Lock()
	text, lines, overflow := l.waiting, l.lines, l.overflow
	l.waiting, l.lines, l.overflow = l.spare[:0], 0, 0
	l.mu.Unlock()
	l.spare = text
	if overflow > 0 {
		l.lost, l.why = l.lost+overflow, errOverflow
	}
	if len(text) > 0 {
		whole, err := l.put(text, lines)
		if err != nil {
			l.lost, l.why = l.lost+lines-whole, err
		}
		l.options.Metrics.written.Add(float64(whole))
		l.options.Metrics.failed.Add(float64(lines - whole))
	}
	l.tell(time.Now())
}

var errOverflow = errors.New("its file takes less than there is to tell")

// put writes lines and tells how many of them are whole in the file.
func (l *Log) put(text []byte, lines int) (whole int, err error) {
	_ = l.file.SetWriteDeadline(time.Now().Add(closeLimit)) // of pipes; files have none
	if l.midLine {
		if _, err := l.file.Write([]byte{'\n'}); err != nil { // what was cut must not spoil the next line
			return 0, err
		}
		l.midLine = false
	}
	n, err := l.file.Write(text)
	if err == nil {
		return lines, nil
	}
	l.midLine = n > 0 && text[n-1] != '\n'
	return bytes.Count(text[:n], []byte{'\n'}), err
}

// tell says, once in a while, that lines were lost.
func (l *Log) tell(now time.Time) {
	if l.lost == 0 || now.Sub(l.told) < toldEvery {
		return
	}
	l.options.Log.Warn("lines of the access log were lost", zap.Int("lines", l.lost), zap.String("file", l.options.File), zap.Error(l.why))
	l.lost, l.told = 0, now
}
