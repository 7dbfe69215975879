package store

import (
	"sync"
	"time"
)

// places are the groups of a Local: when each holder's place ends.
type places struct {
	mu     sync.Mutex
	groups map[string]map[string]time.Time
}

func newPlaces() places { return places{groups: map[string]map[string]time.Time{}} }

func (p *places) take(group, holder string, most int, ttl time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if _, has := p.of(group, now)[holder]; !has && len(p.groups[group]) >= most {
		return false
	}
	p.put(group, holder, now.Add(ttl))
	return true
}

func (p *places) keep(held map[string][]string, ttl time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := time.Now().Add(ttl)
	for group, holders := range held {
		for _, holder := range holders {
			p.put(group, holder, until)
		}
	}
}

func (p *places) leave(held map[string][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for group, holders := range held {
		for _, holder := range holders {
			delete(p.groups[group], holder)
		}
		p.of(group, time.Now())
	}
}

func (p *places) count(group string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.of(group, time.Now()))
}

func (p *places) put(group, holder string, until time.Time) {
	if p.groups[group] == nil {
		p.groups[group] = map[string]time.Time{}
	}
	p.groups[group][holder] = until
}

// of are the places of a group that have not ended; nil when there is none.
func (p *places) of(group string, now time.Time) map[string]time.Time {
	of := p.groups[group]
	for holder, until := range of {
		if !until.After(now) {
			delete(of, holder)
		}
	}
	if len(of) == 0 {
		delete(p.groups, group)
		return nil
	}
	return of
}
