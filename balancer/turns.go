package balancer

// credit is what one candidate of different weights is owed, in weights: it
// grows by the candidate's own with each pick and shrinks by everybody's when
// it is picked.
type credit struct {
	id   string
	owed int
}

// inTurn is RoundRobin. Among equal weights the turn alone decides, which stays
// fair however the list changes and needs no memory but p.last.
func (p *Picker) inTurn(candidates []Candidate) int {
	next, equal := -1, true
	for i := range candidates {
		c := &candidates[i]
		if c.Full() {
			continue
		}
		if next < 0 {
			next = i
			continue
		}
		equal = equal && c.weight() == candidates[next].weight()
		if p.sooner(c.ID, candidates[next].ID) {
			next = i
		}
	}
	if equal {
		return next
	}
	return p.byCredit(candidates)
}

func (p *Picker) byCredit(candidates []Candidate) int {
	p.matchCredits(candidates)
	best, total := -1, 0
	for i := range candidates {
		c := &candidates[i]
		if c.Full() {
			continue
		}
		total += c.weight()
		p.credits[i].owed += c.weight()
		if best < 0 || p.credits[i].owed > p.credits[best].owed ||
			(p.credits[i].owed == p.credits[best].owed && p.sooner(c.ID, candidates[best].ID)) {
			best = i
		}
	}
	p.credits[best].owed -= total
	return best
}

// matchCredits makes p.credits follow the list. Who stays keeps what is owed to
// it; a newcomer starts from the mean, which is not 0 after others have left:
// from there it might wait for many rounds, or have all turns to itself.
func (p *Picker) matchCredits(candidates []Candidate) {
	if p.creditsMatch(candidates) {
		return
	}
	owed := make(map[string]int, len(p.credits))
	for _, c := range p.credits {
		owed[c.id] = c.owed
	}
	sum, stay := 0, 0
	for i := range candidates {
		if n, ok := owed[candidates[i].ID]; ok {
			sum += n
			stay++
		}
	}
	mean := sum / max(stay, 1)
	p.credits = make([]credit, len(candidates))
	for i := range candidates {
		n, ok := owed[candidates[i].ID]
		if !ok {
			n = mean
		}
		p.credits[i] = credit{candidates[i].ID, n}
	}
}

func (p *Picker) creditsMatch(candidates []Candidate) bool {
	if len(p.credits) != len(candidates) {
		return false
	}
	for i := range candidates {
		if p.credits[i].id != candidates[i].ID {
			return false
		}
	}
	return true
}
