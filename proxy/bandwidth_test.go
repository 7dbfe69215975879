package proxy

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// flow is a stream of a simulated relay.
type flow struct {
	chunk       int           // bytes that it moves at once
	every       time.Duration // between chunks that it has to move; 0: always has one
	begin, stop time.Duration // stop 0: never

	share   *Share
	due     time.Duration // when it has its next chunk
	wake    time.Duration // when it acts next
	pausing bool

	moved   int64
	longest time.Duration // that a chunk was kept waiting
}

func (f *flow) rate(over time.Duration) float64 { return float64(f.moved) / over.Seconds() }

func greedy(n int) []*flow { return flowsOf(n, flow{chunk: 64 << 10}) }

// small are streams of 20,000 bytes a second, each at moments of its own.
func small(n int) []*flow {
	all := flowsOf(n, flow{chunk: 2000, every: 100 * time.Millisecond})
	for i, f := range all {
		f.begin = time.Duration(i*37%100) * time.Millisecond
	}
	return all
}

func flowsOf(n int, like flow) (all []*flow) {
	for range n {
		f := like
		all = append(all, &f)
	}
	return all
}

func total(all []*flow) (bytes int64) {
	for _, f := range all {
		bytes += f.moved
	}
	return bytes
}

// agenda is a heap of flows, the next to act first.
type agenda []*flow

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].wake < a[j].wake }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(*flow)) }
func (a *agenda) Pop() any {
	f := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return f
}

var epoch = time.Unix(1_700_000_000, 0)

// simulate runs flows under b on a clock of its own, on which reading a chunk
// takes 10 µs and timers are up to 2 ms late. each, unless nil, is called after
// each chunk.
func simulate(b *Bandwidth, length time.Duration, all []*flow, each func(at time.Duration)) {
	random := rand.New(rand.NewPCG(1, 2))
	var next agenda
	for _, f := range all {
		f.share, f.due, f.wake = b.Join(), f.begin, f.begin
		heap.Push(&next, f)
	}
	for len(next) > 0 && next[0].wake < length {
		f := next[0]
		if f.stop > 0 && f.wake >= f.stop {
			heap.Pop(&next)
			continue
		}
		f.act(random, each)
		heap.Fix(&next, 0)
	}
}

func (f *flow) act(random *rand.Rand, each func(at time.Duration)) {
	at, n := f.wake, 0
	if !f.pausing {
		n = f.chunk
		f.moved += int64(n)
		f.longest = max(f.longest, at-f.due)
		if f.due += f.every; f.every == 0 {
			f.due = at + 10*time.Microsecond
		}
	}
	pause := f.share.Take(n, epoch.Add(at))
	if f.pausing = pause > 0; f.pausing {
		f.wake = at + pause + time.Duration(random.Int64N(int64(2*time.Millisecond)))
	} else {
		f.wake = max(at, f.due)
	}
	if n > 0 && each != nil {
		each(at)
	}
}

const seconds10 = 10 * time.Second

// near checks got against want within a share of it.
func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within*want {
		t.Errorf("%s: %.0f, not %.0f", what, got, want)
	}
}

func TestStreamHasItsOwnLimitExactly(t *testing.T) {
	for _, limit := range []int64{100_000, 1_000_000, 50_000_000} {
		all := append(greedy(3), small(10)...)
		simulate(NewBandwidth(limit, 0), seconds10, all, nil)
		for _, f := range all[:3] {
			least, most := float64(limit)*10, float64(limit)*(10+streamBurst.Seconds())+float64(f.chunk)
			if got := float64(f.moved); got < least || got > most {
				t.Errorf("a greedy stream: %.0f, not %.0f to %.0f", got, least, most)
			}
		}
		for _, f := range all[3:] {
			if f.longest != 0 {
				t.Errorf("limit %d: a stream below it waited %v", limit, f.longest)
			}
		}
	}
}

func TestNodeLimitIsUsedAndKept(t *testing.T) {
	for name, all := range map[string][]*flow{
		"1 greedy":                   greedy(1),
		"2 greedy":                   greedy(2),
		"100 greedy":                 greedy(100),
		"1 greedy and 10 small":      append(greedy(1), small(10)...),
		"1 greedy and 250 small":     append(greedy(1), small(250)...),
		"20 greedy and 100 small":    append(greedy(20), small(100)...),
		"1 of 64 KiB and 1 of 1 KiB": append(greedy(1), &flow{chunk: 1 << 10}),
	} {
		t.Run(name, func(t *testing.T) {
			const limit = 10_000_000
			left, eager, chunks := limit*10.0, 0.0, 0.0
			for _, f := range all {
				if f.every > 0 {
					left -= float64(f.chunk) * float64(seconds10/f.every)
				} else {
					eager++
				}
				chunks += float64(f.chunk)
			}
			simulate(NewBandwidth(0, limit), seconds10, all, nil)
			if got, most := float64(total(all)), limit*(10+nodeBurst.Seconds())+chunks; got < 0.98*limit*10 || got > most {
				t.Errorf("all: %.0f, not %d to %.0f", got, limit*10, most)
			}
			for _, f := range all {
				got := float64(f.moved)
				if share := left / eager; f.every == 0 && (got < 0.97*share || got > 1.03*share+float64(f.chunk)) {
					t.Errorf("a greedy stream: %.0f, not %.0f", got, share)
				}
				if f.every > 0 && f.longest > 0 {
					t.Errorf("a small stream waited %v", f.longest)
				}
			}
		})
	}
}

// What streams leave that want less than an equal share goes to the others, at
// each level.
func TestNodeLimitIsSharedMaxMinFairly(t *testing.T) {
	const limit = 1_000_000
	all := []*flow{
		{chunk: 5_000, every: 100 * time.Millisecond},  // 50 KB/s
		{chunk: 10_000, every: 100 * time.Millisecond}, // 100 KB/s
		{chunk: 20_000, every: 100 * time.Millisecond}, // 200 KB/s
		{chunk: 40_000, every: 100 * time.Millisecond}, // 400 KB/s, more than its share
		{chunk: 16 << 10},
	}
	const length = 60 * time.Second // of chunks that are large against the shares
	simulate(NewBandwidth(0, limit), length, all, nil)
	for i, want := range []float64{50_000, 100_000, 200_000, 325_000, 325_000} {
		near(t, "a stream", all[i].rate(length), want, 0.03)
	}
}

func TestStreamLimitLeavesTheRestToNobodyElse(t *testing.T) {
	all := greedy(4)
	simulate(NewBandwidth(1_000_000, 100_000_000), seconds10, all, nil)
	for _, f := range all {
		near(t, "a greedy stream below the node's limit", float64(f.moved), 1_000_000*10.25+64<<10, 0.02)
	}
	all = greedy(4)
	simulate(NewBandwidth(1_000_000, 2_000_000), seconds10, all, nil)
	for _, f := range all {
		near(t, "a greedy stream with the node's limit binding", f.rate(seconds10), 500_000, 0.03)
	}
}

func TestNodeLimitIsKeptWhileStreamsComeAndGo(t *testing.T) {
	const limit = 20_000_000
	random := rand.New(rand.NewPCG(3, 4))
	all := greedy(1) // there is always one to use what the others leave
	for range 300 {
		begin := time.Duration(random.Int64N(int64(seconds10)))
		all = append(all, &flow{chunk: 16 << 10, begin: begin, stop: begin + time.Duration(random.Int64N(int64(3*time.Second)))})
	}
	all = append(all, small(50)...)
	simulate(NewBandwidth(0, limit), seconds10, all, nil)
	near(t, "all", float64(total(all)), limit*10, 0.03)
	for _, f := range all[len(all)-50:] {
		if f.longest > 100*time.Millisecond {
			t.Errorf("a small stream waited %v", f.longest)
		}
	}
}

// When 99 of 100 leave, the last one has the whole limit soon.
func TestRestGoesToWhoStays(t *testing.T) {
	const limit = 10_000_000
	all := greedy(100)
	for _, f := range all[1:] {
		f.stop = 5 * time.Second
	}
	var before int64
	simulate(NewBandwidth(0, limit), seconds10, all, func(at time.Duration) {
		if at < 6*time.Second {
			before = all[0].moved
		}
	})
	near(t, "the last four seconds of the last stream", float64(all[0].moved-before), limit*4, 0.03)
}

func TestBurstAfterIdlingIsBounded(t *testing.T) {
	const limit, n, chunk = 10_000_000, 100, 16 << 10
	for name, spread := range map[string]time.Duration{"together": 0, "one after another": nodeBurst} {
		t.Run(name, func(t *testing.T) {
			all := append(greedy(1), flowsOf(n, flow{chunk: chunk})...)
			all[0].stop = time.Second // then all is idle
			const start = 4 * time.Second
			for i, f := range all[1:] {
				f.begin = start + spread*time.Duration(i)/n
			}
			worst := 0.0
			simulate(NewBandwidth(0, limit), seconds10, all, func(at time.Duration) {
				if at >= start {
					worst = max(worst, float64(total(all[1:]))-limit*(at-start).Seconds())
				}
			})
			bound := limit*nodeBurst.Seconds()*(1+math.Log(n)) + n*chunk
			if spread == 0 {
				bound = limit*nodeBurst.Seconds() + n*chunk
			}
			if worst > bound {
				t.Errorf("%.0f bytes more than the limit, over %.0f", worst, bound)
			}
		})
	}
}

// Who comes again for every chunk must not have more than who stays.
func TestComingAgainGivesNoNewBurst(t *testing.T) {
	const limit, chunk = 1_000_000, 64 << 10
	b := NewBandwidth(0, limit)
	moved := 0
	for at := time.Duration(0); at < seconds10; {
		share := b.Join()
		pause := share.Take(chunk, epoch.Add(at))
		moved += chunk
		for pause > 0 {
			at += pause
			pause = share.Take(0, epoch.Add(at))
		}
	}
	near(t, "all", float64(moved), limit*10, 0.03)
}

func TestPausesAreNeitherTinyNorLong(t *testing.T) {
	b := NewBandwidth(10_000, 10_000)
	s := b.Join()
	if got := s.Take(510, epoch); got != shortestPause { // 51 ms of the node's link, 50 of them free
		t.Errorf("after 510 bytes at 10 kB/s: %v", got)
	}
	if got := s.Take(1<<20, epoch); got != longestPause {
		t.Errorf("after 1 MiB at 10 kB/s: %v", got)
	}
	// Another loop's clock may lie behind.
	if got := b.Join().Take(1, epoch.Add(-time.Second)); got != 0 {
		t.Errorf("a byte of another stream, earlier: %v", got)
	}
}

func TestNoLimitIsNil(t *testing.T) {
	if b := NewBandwidth(0, 0); b != nil {
		t.Fatalf("%+v", b)
	}
	var none *Bandwidth
	if s := none.Join(); s != nil || s.Take(1<<30, epoch) != 0 {
		t.Error("no limit limits")
	}
}

func BenchmarkTake(b *testing.B) {
	for name, limits := range map[string][2]int64{"none": {}, "stream": {1e6, 0}, "node, binding": {0, 1e9}, "node, not binding": {0, 1e11}} {
		b.Run(name, func(b *testing.B) {
			bandwidth := NewBandwidth(limits[0], limits[1])
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) { // each is a loop with 4,000 streams
				var shares [4000]*Share
				for i := range shares {
					shares[i] = bandwidth.Join()
				}
				now := epoch
				for i := 0; pb.Next(); i++ {
					if i%64 == 0 {
						now = now.Add(16 * time.Microsecond)
					}
					shares[i%len(shares)].Take(2500, now)
				}
			})
		})
	}
}
