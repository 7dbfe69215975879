package main

import (
	"sync"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// places are what one edge of several has room for. A stream that this edge
// brings to its desktop has a place among the carried ones, whether its viewer is
// here or at another edge; a viewer's that another edge carries has one among
// those passed on. There are as many of each. Safe for concurrent use.
type places struct {
	node string
	most int
	// changed is called after the number of carried streams has; it must not block.
	changed func()

	mu       sync.Mutex
	carried  int
	passedOn int
}

// carry takes a place for a stream that this edge carries. giveBack is called
// once. The error has tunnel.CodeNodeFull.
func (p *places) carry() (giveBack func(), err error) {
	if !p.take(&p.carried) {
		return nil, tunnel.Errorf(tunnel.CodeNodeFull, "edge %s carries %d streams, as many as it may (vnc.max_streams)", p.node, p.most)
	}
	p.changed()
	return func() {
		p.giveBack(&p.carried)
		p.changed()
	}, nil
}

// passOn is carry for a viewer of this edge whose stream another one carries.
func (p *places) passOn() (giveBack func(), err error) {
	if !p.take(&p.passedOn) {
		return nil, tunnel.Errorf(tunnel.CodeNodeFull, "edge %s passes %d streams on to others, as many as it may (vnc.max_streams)", p.node, p.most)
	}
	return func() { p.giveBack(&p.passedOn) }, nil
}

func (p *places) take(kind *int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *kind >= p.most {
		return false
	}
	*kind++
	return true
}

func (p *places) giveBack(kind *int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*kind--
}

// taken is how many streams of each kind there are.
func (p *places) taken() (carried, passedOn int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.carried, p.passedOn
}

// roomFor tells whether a stream that may be carried here, or by another edge
// with room, would find a place now.
func (p *places) roomFor(here, elsewhere bool) bool {
	carried, passedOn := p.taken()
	return here && carried < p.most || elsewhere && passedOn < p.most
}

// maxViewers is how many viewers may be connected to this edge: of one in a
// cluster those that it carries, and those that it passes on.
func (c *edgeConfig) maxViewers() int {
	if c.clustered() {
		return 2 * c.VNC.MaxStreams
	}
	return c.VNC.MaxStreams
}
