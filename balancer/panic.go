package balancer

import "go.uber.org/zap"

// trust is how far a pool goes by its health checks.
type trust struct {
	panics bool // so few are up that the checks are not believed: all are used
	noneUp bool // so that one will do whose first check is not over
}

// review finds the trust anew, after a change of what it depends on: the
// upstreams, their settings and health, and the config. One whose first check is
// not over counts as up, or the first failure at a start would be a panic. p.mu is
// held.
func (p *pool) review() {
	up, down, all := 0, 0, 0
	for _, u := range p.upstreams {
		if !u.usable() {
			continue
		}
		all++
		switch u.down {
		case "":
			up++
		case firstCheck:
		default:
			down++
		}
	}
	before := p.trust.panics
	p.trust = trust{panics: p.config.Passive.panics(all-down, all), noneUp: up == 0}
	if p.trust.panics == before || p.retired { // a pool that goes has nothing to tell
		return
	}
	log, text := p.b.log.Info, "a pool believes its health checks again"
	if p.trust.panics {
		log, text = p.b.log.Warn, "a pool is in panic mode: so many of its upstreams are down that all are used"
	}
	log(text, zap.String("pool", p.name), zap.Int("down", down), zap.Int("of", all), zap.Float64("panic", p.config.Passive.Panic))
	p.told()
}

// told lets those know who follow the pool's state.
func (p *pool) told() {
	if p.b.options.Changed != nil {
		p.b.options.Changed(p.name)
	}
}
