package main

import (
	"runtime"
	"sync"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// cores is how many threads Go would use by itself.
var cores = runtime.GOMAXPROCS(0)

// processors guards a change of GOMAXPROCS, which a process has one of.
var processors sync.Mutex

// openLoops starts an event loop for each core. A busy one keeps its place in
// Go's scheduler while it waits, so it gets one beside those of all other work.
// Places that no loop needs would have requests wander between the cores: with
// as many again, a small one costs 8% more (measured).
func openLoops() (*reactor.Reactor, error) {
	return reactor.New(cores, func(change int) {
		processors.Lock()
		defer processors.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + change)
	})
}
