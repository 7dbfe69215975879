package main

import (
	"sync"
	"sync/atomic"
	"testing"
)

// However many want one at once, there are never more than the bound, and those
// of one kind take nothing from the other.
func TestPlacesOfAnEdgeAreExactUnderARush(t *testing.T) {
	const most, rush = 7, 100
	var told atomic.Int32
	p := &places{node: "a", most: most, changed: func() { told.Add(1) }}
	var all sync.WaitGroup
	var mu sync.Mutex
	var carried, passedOn []func()
	for i := range rush {
		all.Go(func() {
			take, list := p.carry, &carried
			if i%2 == 0 {
				take, list = p.passOn, &passedOn
			}
			giveBack, err := take()
			if err != nil {
				if !isFull(err) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			*list = append(*list, giveBack)
		})
	}
	all.Wait()
	if len(carried) != most || len(passedOn) != most || told.Load() != most {
		t.Errorf("%d carried and %d passed on, of %d each; %d changes told", len(carried), len(passedOn), most, told.Load())
	}
	if p.roomFor(true, true) {
		t.Error("a full edge has room")
	}
	carried[0]()
	if !p.roomFor(true, false) || p.roomFor(false, true) {
		t.Error("a place that was given back is not free, or one is that was not")
	}
	passedOn[0]()
	if !p.roomFor(false, true) || p.roomFor(false, false) {
		t.Error("a place that was given back is not free, or there is one that nothing leads to")
	}
	for _, giveBack := range append(carried[1:], passedOn[1:]...) {
		giveBack()
	}
	if c, o := p.taken(); c != 0 || o != 0 {
		t.Errorf("left: %d and %d", c, o)
	}
}
