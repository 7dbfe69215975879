package balancer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"
)

var (
	errClosing = errors.New("the server is shutting down")
	errDrained = errors.New("its upstream was drained")
)

func (b *Balancer) newPool(name string) *pool {
	return &pool{b: b, name: name, retries: leastBudget, metrics: b.options.Metrics.pool(name)}
}

// load goes over to a config with defaults.
func (p *pool) load(c PoolConfig) {
	files := c.TLS.fingerprint() // before requests have to wait
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.picker == nil || p.config.Policy != c.Policy {
		p.picker = NewPicker(c.Policy)
	}
	p.affinity = nil
	if c.Affinity != nil {
		p.affinity = NewAffinity(*c.Affinity, p.name, p.b.options.Secret)
	}
	before, same := map[string]*upstream{}, sameConnections(p.config, c) && files == p.tlsFiles
	held := map[[2]string]*int{}
	p.tlsFiles = files
	for _, u := range p.upstreams {
		held[u.server()] = u.held
		if !u.removed {
			before[u.id] = u
		}
	}
	p.current.Store(&rules{c.Policy, c.Hash, p.affinity, c.Retry.Attempts})
	checksChange := p.config.Health != c.Health
	p.config = c
	var all []*upstream
	var ids []string
	for _, config := range c.Upstreams {
		u := before[config.ID]
		if u == nil || u.config.URL != config.URL || !same {
			if u != nil && u.config.URL != config.URL {
				p.outliers.forget(u.id)
			}
			u = p.newUpstream(config)
			u.held = orElse(held[u.server()], u.held)
			u.check(p, u.succeed(before[config.ID]))
		} else {
			u.config = config
			if checksChange {
				u.recheck(p)
			}
		}
		all, ids = append(all, u), append(ids, u.id)
	}
	var replaced []*upstream
	for _, u := range p.upstreams {
		if slices.Contains(all, u) {
			continue
		}
		u.remove(time.Now().Add(c.Drain))
		if u.replaced = u.replaced || slices.Contains(ids, u.id); u.replaced {
			u.endChecks()
			replaced = append(replaced, u)
		} else {
			all = append(all, u)
		}
	}
	p.upstreams = append(all, replaced...)
	if p.outliers == nil {
		p.outliers = newOutliers(c.Passive, ids)
	} else {
		p.outliers.update(c.Passive, ids)
	}
	p.review()
	p.letIn(time.Now())
}

// sameConnections tells whether a pool's connections to its upstreams are made
// in the same way.
func sameConnections(a, b PoolConfig) bool {
	return a.TLS == b.TLS && a.Timeouts == b.Timeouts && a.ProxyProtocol == b.ProxyProtocol
}

// newUpstream takes the config of a pool and an upstream that are valid. p.mu is
// held.
func (p *pool) newUpstream(c UpstreamConfig) *upstream {
	at, _ := url.Parse(c.URL)
	u := &upstream{id: c.ID, mark: markOf(affinityRoot(p.b.options.Secret), p.name, c.ID), config: c, setting: Enabled, asked: noWish, held: new(int), metrics: p.b.options.Metrics.upstream(p.name, c.ID)}
	u.ctx, u.end = context.WithCancelCause(p.b.ctx)
	u.address = hostPort(at)
	if at.Scheme == "https" {
		var fault *keyFault
		if u.tls, fault = p.config.TLS.config(at.Hostname()); fault != nil { // the files were good when the config was checked
			u.tls = &tls.Config{ServerName: at.Hostname(), RootCAs: x509.NewCertPool()} // it trusts nobody
			p.b.log.Error("an upstream can't be connected to", zap.String("pool", p.name), zap.String("upstream", u.id), zap.String("setting", "tls."+fault.key), zap.String("error", fault.text))
		}
	}
	u.links = &links{dial: dialer(u.address, u.tls, p.config.Timeouts.Connect), wait: p.config.Timeouts.Idle, keep: p.config.Timeouts.Keep, buffers: p.b.buffers, announce: p.config.ProxyProtocol}
	return u
}

// recheck checks by another config what is known so far. p.mu is held.
func (u *upstream) recheck(p *pool) {
	u.endChecks()
	u.check(p, u.known())
}

func (u *upstream) endChecks() {
	if u.stopCheck != nil {
		u.stopCheck()
	}
}

// remove takes an upstream out of the pool; who has it may stay until then.
func (u *upstream) remove(until time.Time) {
	if u.removed {
		return
	}
	u.removed = true
	if u.setting != Draining {
		u.drainEnds = until
	}
	if u.setting == Enabled {
		u.setting = Draining
	}
}

// retire drains all upstreams of a pool that is not in the config any more.
func (p *pool) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	for _, u := range p.upstreams {
		u.remove(time.Now().Add(p.config.Drain))
	}
	p.review()
}

// close ends the connections that carry nothing, and the others when they are done.
func (p *pool) close() {
	p.retire()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.upstreams {
		u.links.close()
	}
}

// sweep does what time brings, and tells whether the pool has nothing left.
// b.loading is held.
func (p *pool) sweep(now time.Time) (empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := p.upstreams[:0]
	for _, u := range p.upstreams {
		u.links.sweep(now)
		if u.setting == Draining && !now.Before(u.drainEnds) {
			u.setting = Disabled
			u.end(errDrained)
			p.changed(u, "drained", "its drain is over")
		}
		if u.removed && !now.Before(u.drainEnds) { // it was disabled
			u.end(errDrained)
		}
		if u.removed && u.active == 0 {
			u.end(errDrained)
			u.endChecks()
			u.links.close()
			p.b.stale = true
			continue
		}
		stay = append(stay, u)
	}
	clear(p.upstreams[len(stay):])
	p.upstreams = stay
	return len(stay) == 0
}

// Set is an operator's word on an upstream. drain is how long one of Draining
// keeps its clients; 0: the pool's time. The error is ErrUnknown.
func (b *Balancer) Set(poolName, id string, setting Setting, drain time.Duration) (UpstreamState, error) {
	p := b.table.Load().pool(poolName)
	if p == nil {
		return UpstreamState{}, fmt.Errorf("%w: there is no pool %q", ErrUnknown, poolName)
	}
	return p.set(id, setting, drain)
}

// ErrUnknown is the error of a pool or an upstream that does not exist.
var ErrUnknown = errors.New("not found")

func (p *pool) set(id string, setting Setting, drain time.Duration) (UpstreamState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, u := range p.upstreams {
		if u.id != id || u.removed {
			continue
		}
		if u.setting != setting {
			u.setting = setting
			if setting == Enabled {
				u.readySince = now
				if u.ctx.Err() != nil { // its drain was over
					u.ctx, u.end = context.WithCancelCause(p.b.ctx)
				}
			}
			p.changed(u, string(setting), "an operator said so")
		}
		if setting == Draining {
			u.drainEnds = now.Add(orElse(drain, p.config.Drain))
			for _, r := range p.upstreams { // what the same server has from before a reload goes no later
				if r.replaced && r.held == u.held && r.drainEnds.After(u.drainEnds) {
					r.drainEnds = u.drainEnds
				}
			}
		}
		p.review()
		p.letIn(now)
		return u.state(p, now), nil
	}
	return UpstreamState{}, fmt.Errorf("%w: the pool %q has no upstream %q", ErrUnknown, p.name, id)
}

// changed tells a change of an upstream's state, and why it came; empty: that
// needs no words. p.mu is held.
func (p *pool) changed(u *upstream, to, why string) {
	level, reason := zap.InfoLevel, zap.Skip()
	if to == "down" || to == "ejected" {
		level = zap.WarnLevel
	}
	if why != "" {
		reason = zap.String("reason", why)
	}
	p.b.log.Log(level, "upstream changed", zap.String("pool", p.name), zap.String("upstream", u.id), zap.String("to", to), reason)
	p.b.options.Metrics.changes.WithLabelValues(p.name, u.id, to).Inc()
	p.told()
}

// PoolState is a pool as it is now.
type PoolState struct {
	Name      string
	Policy    Strategy
	Waiting   int  // requests that wait for room
	Panic     bool // so many are down that all are used, whatever their health
	Removed   bool // not in the config any more; it drains
	Upstreams []UpstreamState
}

// UpstreamState is an upstream as it is now.
type UpstreamState struct {
	ID        string
	URL       string
	State     string // "up", "down", "ejected", "draining" or "disabled"
	Reason    string // for a person; may be empty
	Weight    int
	Active    int        // requests and upgraded connections
	Upgraded  int        // of them
	DrainEnds *time.Time // nil: it does not drain for an operator
	Removed   bool       // not in the config any more
}

// Pools tells all pools in the config's order, then those that left it and still
// serve somebody.
func (b *Balancer) Pools() []PoolState {
	now := time.Now()
	var all []PoolState
	for _, p := range b.table.Load().pools {
		all = append(all, p.state(now))
	}
	for _, p := range *b.retired.Load() {
		if s := p.state(now); s.serves() {
			s.Removed = true
			all = append(all, s)
		}
	}
	return all
}

// serves tells whether anybody is there.
func (s PoolState) serves() bool {
	return s.Waiting > 0 || slices.ContainsFunc(s.Upstreams, func(u UpstreamState) bool { return u.Active > 0 })
}

func (p *pool) state(now time.Time) PoolState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolState{Name: p.name, Policy: p.config.Policy, Waiting: len(p.waiting), Panic: p.trust.panics, Upstreams: []UpstreamState{}}
	for _, u := range p.upstreams {
		s.Upstreams = append(s.Upstreams, u.state(p, now))
	}
	return s
}

func (u *upstream) state(p *pool, now time.Time) UpstreamState {
	s := UpstreamState{ID: u.id, URL: u.config.URL, Weight: u.config.Weight, Active: u.active, Upgraded: u.upgraded, Removed: u.removed, State: "up"}
	switch {
	case u.setting == Disabled:
		s.State = "disabled"
	case u.setting == Draining:
		ends := u.drainEnds.UTC()
		s.State, s.DrainEnds = "draining", &ends
	case u.down != "":
		s.State, s.Reason = "down", u.down
	case now.Before(u.outUntil):
		s.State, s.Reason = "ejected", p.ejectedWhy()
	case u.leaving, u.asked == 0:
		s.State, s.Reason = "draining", "its health check says so"
	}
	return s
}
