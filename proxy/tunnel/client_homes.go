package tunnel

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// How an agent keeps its homes. Where it should have tunnels it is told by the
// edges that it has tunnels to: a node is a home as long as one of them names it,
// so an edge that knows less than the others takes none away. Each home has a
// goroutine, keepHome, that has a tunnel to it or tries to. One more, keepSeed,
// goes to the configured addresses when there is no tunnel and no home answers.
// Which node such an address has led to, the welcome tells, and a home that was
// reached that way is not connected to again. A tunnel to a node that is no home
// any more ends when all homes have theirs and no stream runs over it.

// seedAfter is how long homes may take to answer, when the last tunnel was lost,
// before the seeds are tried beside them.
const seedAfter = 2 * time.Second

// homeBook is what a Client knows of its homes; Client.mu guards it.
type homeBook struct {
	wanted  map[string]Home               // by node; stays as it is while there is no tunnel
	keepers map[string]*homeKeeper        // by node, one for each keepHome
	links   map[string]*link              // the tunnels that are up, by node
	streams map[string]streamCount        // by node, over tunnels of any generation
	dialing map[string]context.CancelFunc // connects under way, by node; "": to a seed
	grace   bool                          // the last tunnel was lost less than seedAfter ago
	changed chan struct{}                 // closed, and made anew, at each change
}

// homeKeeper is what others know and want of one keepHome.
type homeKeeper struct {
	failed bool          // the home did not answer when it was tried last
	poke   chan struct{} // has room for one: no more waiting, look again
}

type streamCount struct{ running, opening int }

func newHomeBook() homeBook {
	return homeBook{
		wanted: map[string]Home{}, keepers: map[string]*homeKeeper{}, links: map[string]*link{},
		streams: map[string]streamCount{}, dialing: map[string]context.CancelFunc{}, changed: make(chan struct{}),
	}
}

// wake is called with mu held.
func (c *Client) wake() {
	close(c.book.changed)
	c.book.changed = make(chan struct{})
}

// await waits until ready, which is called with mu held, says so; false: the
// client ends.
func (c *Client) await(ready func() bool) bool {
	for {
		c.mu.Lock()
		is, changed := ready(), c.book.changed
		c.mu.Unlock()
		if c.waiting.Err() != nil {
			return false
		}
		if is {
			return true
		}
		select {
		case <-changed:
		case <-c.waiting.Done():
			return false
		}
	}
}

// arrived takes a tunnel that the edge has welcomed. Where the client has
// another tunnel to the same node, the edge has ended the older: an error says
// that this one is it.
func (c *Client) arrived(l *link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.book.links[l.node]; other != nil {
		if other.welcome.Generation > l.welcome.Generation {
			return errReplaced
		}
		other.replaced = true
	}
	c.welcomed = true
	c.book.links[l.node] = l
	if k := c.book.keepers[l.node]; k != nil {
		k.failed = false
	}
	if c.leaving.Err() != nil {
		c.sayBye()
	}
	c.hearHomes(l, l.welcome.Homes)
	return nil
}

// departed forgets a tunnel that has ended because of why, and returns that, or
// errReplaced.
func (c *Client) departed(l *link, why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving.Err() != nil {
		c.partings = append(c.partings, why)
	}
	// The edge ends the older of two tunnels before it welcomes the newer, which
	// may be on its way here.
	if l.replaced || l.retired || codeOf(why) == CodeSuperseded && len(c.book.dialing) > 0 {
		why = errReplaced
	}
	if c.book.links[l.node] != l {
		return why
	}
	delete(c.book.links, l.node)
	if len(c.book.links) == 0 {
		c.book.grace = true
		c.graceTimer.Reset(seedAfter)
	}
	c.considerHomes()
	return why
}

// graceEnds is graceTimer's.
func (c *Client) graceEnds() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.grace = false
	c.wake()
}

// toldHomes takes what an edge says while its tunnel is up.
func (c *Client) toldHomes(l *link, homes []Home) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.book.links[l.node] == l {
		c.hearHomes(l, homes)
	}
}

// hearHomes is called with mu held. A home that an edge names anew is likely to
// be there, so it is tried at once.
func (c *Client) hearHomes(l *link, homes []Home) {
	l.homes = make(map[string]Home, len(homes))
	for _, home := range homes[:min(len(homes), MaxHomes)] {
		if err := c.checkHome(home); err != nil {
			l.log.Warn("the edge names a home that can't be one", zap.Error(err))
			continue
		}
		l.homes[home.Node] = home
	}
	if home, named := l.homes[l.node]; named {
		l.setDirect(home)
	}
	c.considerHomes()
	for node := range l.homes {
		if k := c.book.keepers[node]; k != nil {
			k.wake()
		}
	}
}

func (k *homeKeeper) wake() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// checkHome refuses what can't be dialled, and an address without TLS where the
// operator wrote none: the agent's secrets would pass in the clear.
func (c *Client) checkHome(home Home) error {
	if err := home.check(); err != nil {
		return err
	}
	isPlain := func(address string) bool { return strings.HasPrefix(address, "http:") }
	if isPlain(home.URL) && !slices.ContainsFunc(c.o.Edges, isPlain) {
		return Errorf(CodeBadRequest, "node %q at %q has TLS off, and the agent's configured edges have not; correct the address that the edge advertises", home.Node, home.URL)
	}
	return nil
}

func (h Home) check() error {
	u, err := url.Parse(h.URL)
	if h.Node == "" || err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return Errorf(CodeBadRequest, "node %q at %q", h.Node, h.URL)
	}
	return nil
}

// considerHomes brings wanted and the keepers in line with what the edges say;
// called with mu held.
func (c *Client) considerHomes() {
	if len(c.book.links) > 0 {
		c.book.wanted = map[string]Home{}
		for _, l := range c.book.links {
			maps.Copy(c.book.wanted, l.homes)
		}
		// What a node says of itself counts most.
		for node, l := range c.book.links {
			if home, named := l.homes[node]; named {
				c.book.wanted[node] = home
			}
		}
	}
	for node := range c.book.wanted {
		if c.book.keepers[node] == nil && c.waiting.Err() == nil {
			keeper := &homeKeeper{poke: make(chan struct{}, 1)}
			c.book.keepers[node] = keeper
			c.keeping.Go(func() { c.keepHome(node, keeper) })
		}
	}
	for node, k := range c.book.keepers {
		if _, wanted := c.book.wanted[node]; !wanted {
			k.wake()
			if cancel := c.book.dialing[node]; cancel != nil {
				cancel()
			}
		}
	}
	c.retireLinks()
	c.wake()
}

// retireLinks ends tunnels that have no use any more; called with mu held.
func (c *Client) retireLinks() {
	if len(c.book.wanted) == 0 {
		return
	}
	for node := range c.book.wanted {
		if c.book.links[node] == nil {
			return
		}
	}
	for node, l := range c.book.links {
		if _, wanted := c.book.wanted[node]; !wanted && c.book.streams[node] == (streamCount{}) && !l.retired {
			l.retired = true
			l.log.Info("the edge is no home of this agent any more")
			l.say(Bye{Reason: "its tunnels are on other edges now"})
		}
	}
}

// countStreams adds to the streams of a node.
func (c *Client) countStreams(node string, running, opening int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.book.streams[node]
	n.running += running
	n.opening += opening
	c.book.streams[node] = n
	if n == (streamCount{}) {
		delete(c.book.streams, node)
		c.retireLinks()
	}
}

func (c *Client) runningStreams(node string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.book.streams[node].running
}
