package main

import (
	"runtime"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// cores is how many threads Go would use by itself.
var cores = runtime.GOMAXPROCS(0)

// openLoops starts an event loop for each core. A busy loop keeps its place in
// Go's scheduler while it waits, so there has to be one for each beside those of
// all other work.
func openLoops() (*reactor.Reactor, error) {
	loops, err := reactor.New(cores)
	if err == nil {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + cores)
	}
	return loops, err
}
