package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	placeBeat = 2 * time.Second
	// placeTTL is how long a place outlives its edge: three beats, as a node's
	// lease.
	placeTTL = 3 * placeBeat
)

// sharedPlaces bound the streams of a session, and those of a user, at all edges
// together. While the Coord is away each edge counts its own alone, which its
// proxy does anyhow. Safe for concurrent use.
type sharedPlaces struct {
	coord               store.Coord
	perSession, perUser int // 0: no bound
	log                 *zap.Logger
	wake                chan struct{} // something was left; holds one

	mu   sync.Mutex
	held map[string]map[string]bool // streams of this edge, by group
	left map[string][]string        // what run has not told the Coord yet
}

func newSharedPlaces(coord store.Coord, c vncConfig, log *zap.Logger) *sharedPlaces {
	return &sharedPlaces{
		coord: coord, perSession: c.MaxStreamsPerSession, perUser: c.MaxStreamsPerUser, log: log, wake: make(chan struct{}, 1),
		held: map[string]map[string]bool{}, left: map[string][]string{},
	}
}

// group is what has a bound.
type group struct {
	name    string
	most    int
	refusal func(n int) *proxy.Refusal // n: how many there are
}

// groups are those of a grant that have a bound. A session has one owner, so who
// has a place of it and is refused as its user has kept it from nobody.
func (p *sharedPlaces) groups(g proxy.Grant) (groups []group) {
	if p.perSession > 0 {
		groups = append(groups, group{"session/" + g.Session, p.perSession, proxy.SessionFull})
	}
	if p.perUser > 0 {
		groups = append(groups, group{fmt.Sprintf("user/%q/%q", g.Org, g.Owner), p.perUser, proxy.UserFull})
	}
	return groups
}

// room tells why no further viewer with this grant can be taken now, as a
// *proxy.Refusal; nil when one can, or nobody knows.
func (p *sharedPlaces) room(ctx context.Context, g proxy.Grant) error {
	for _, group := range p.groups(g) {
		if n, err := p.coord.Places(ctx, group.name); err == nil && n >= group.most {
			return group.refusal(n)
		}
	}
	return nil
}

// enter takes the stream's places. Without an error, leave is called once, when
// it has ended; the error is a *proxy.Refusal, or that of ctx.
func (p *sharedPlaces) enter(ctx context.Context, g proxy.Grant, stream string) (leave func(), err error) {
	groups := p.groups(g)
	leave = func() { p.leave(groups, stream) }
	for _, group := range groups {
		p.hold(group.name, stream) // before it is there: what is asked for may be had without our knowing
		taken, err := p.coord.TakePlace(ctx, group.name, stream, group.most, placeTTL)
		switch {
		case ctx.Err() != nil:
			leave()
			return nil, context.Cause(ctx)
		case err == nil && !taken:
			leave()
			return nil, group.refusal(group.most)
		}
	}
	return leave, nil
}

func (p *sharedPlaces) hold(name, stream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[name] == nil {
		p.held[name] = map[string]bool{}
	}
	p.held[name][stream] = true
}

// leave gives back what the stream has of these, and does not wait.
func (p *sharedPlaces) leave(groups []group, stream string) {
	p.mu.Lock()
	for _, group := range groups {
		if !p.held[group.name][stream] {
			continue
		}
		delete(p.held[group.name], stream)
		if len(p.held[group.name]) == 0 {
			delete(p.held, group.name)
		}
		p.left[group.name] = append(p.left[group.name], stream)
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run renews the places and gives back those that were left, until ctx ends. It
// returns nil.
func (p *sharedPlaces) run(ctx context.Context) error {
	beat := time.NewTicker(placeBeat)
	defer beat.Stop()
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = p.giveBack(last) // what stays ends by itself
			return nil
		case <-p.wake:
			err = p.giveBack(ctx)
		case <-beat.C:
			err = p.coord.KeepPlaces(ctx, p.holding(), placeTTL)
		}
		if err != nil && !failing && ctx.Err() == nil {
			p.log.Warn("the places of streams can't be renewed, so vnc.max_streams_per_session and vnc.max_streams_per_user are counted by this edge alone", zap.Error(err))
		}
		failing = err != nil
	}
}

// giveBack comes in the goroutine that renews, so that no renewal overtakes it.
func (p *sharedPlaces) giveBack(ctx context.Context) error {
	p.mu.Lock()
	left := p.left
	p.left = map[string][]string{}
	p.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	return p.coord.LeavePlaces(ctx, left)
}

func (p *sharedPlaces) holding() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(map[string][]string, len(p.held))
	for name, streams := range p.held {
		held[name] = slices.Collect(maps.Keys(streams))
	}
	return held
}
