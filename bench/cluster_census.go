package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// census is where sessions are, as all who know of them tell.
type census struct {
	acknowledged map[string]string                   // id, and the agent that it was on at the census before; empty: there was none
	agents       map[string][]string                 // by agent: ids of what runs there
	lists        map[string]map[string]listedSession // by edge, then by id
}

// listedSession is one as the API lists it.
type listedSession struct {
	ID, State, Reason string
	AgentID           string `json:"agent_id"`
}

// judge tells of each session that does not run as it should why, and of those
// that there should not be. at is the agent of each session.
func (c census) judge() (at, lost, surplus map[string]string) {
	at, lost, surplus = map[string]string{}, map[string]string{}, map[string]string{}
	for _, agent := range slices.Sorted(maps.Keys(c.agents)) {
		for _, id := range c.agents[agent] {
			if other := at[id]; other != "" {
				lost[id] = "it runs on two agents, " + other + " and " + agent
				continue
			}
			at[id] = agent
			if _, known := c.acknowledged[id]; !known {
				surplus[id] = "it runs on the agent " + agent + " and nobody was told of it"
			}
		}
	}
	for _, edge := range slices.Sorted(maps.Keys(c.lists)) {
		for id, before := range c.acknowledged {
			if why := c.wrong(edge, id, before, at[id]); why != "" && lost[id] == "" {
				lost[id] = why
			}
		}
		for id := range c.lists[edge] {
			if _, known := c.acknowledged[id]; !known && surplus[id] == "" {
				surplus[id] = edge + " lists it and nobody was told of it"
			}
		}
	}
	return at, lost, surplus
}

// wrong is what does not fit between an edge's word on a session and the agents'.
func (c census) wrong(edge, id, before, at string) string {
	switch s, listed := c.lists[edge][id]; {
	case !listed:
		return edge + " does not list it"
	case s.State != "running":
		return fmt.Sprintf("%s says it is %s: %s", edge, s.State, s.Reason)
	case at == "":
		return fmt.Sprintf("%s says it runs on the agent %s, which does not have it", edge, s.AgentID)
	case s.AgentID != at:
		return fmt.Sprintf("%s says it is on the agent %s, and it is on %s", edge, s.AgentID, at)
	case before != "" && before != at:
		return fmt.Sprintf("it was on the agent %s and is on %s", before, at)
	}
	return ""
}

// compare takes a census. What is lost is told and does not count from then on.
func (r *clusterRun) compare(ctx context.Context, p *Phase) error {
	c := census{acknowledged: r.sessions, agents: map[string][]string{}, lists: map[string]map[string]listedSession{}}
	began := time.Now()
	for _, e := range r.cluster.edges {
		list, err := r.cluster.list(ctx, e)
		if err != nil {
			return err
		}
		c.lists[e.name] = list
	}
	p.Values[valueListed] = time.Since(began).Seconds() / float64(len(r.cluster.edges))
	for _, a := range r.agents.all {
		c.agents[a.hello.AgentID] = a.ids()
	}
	at, lost, surplus := c.judge()
	for id := range r.sessions {
		r.sessions[id] = at[id]
	}
	for id := range lost {
		delete(r.sessions, id)
	}
	p.note("lost: session", lost)
	p.note("too many: session", surplus)
	p.Values[valueLost] = float64(len(lost))
	r.lost += len(lost)
	r.surplus += len(surplus)
	return nil
}

const mostNotes = 20 // of one kind; beyond it only their number is told

func (p *Phase) note(what string, ids map[string]string) {
	for i, id := range slices.Sorted(maps.Keys(ids)) {
		if i == mostNotes {
			p.Notes = append(p.Notes, fmt.Sprintf("and %d more like these", len(ids)-mostNotes))
			return
		}
		p.Notes = append(p.Notes, what+" "+id+": "+ids[id])
	}
}

// list reads all sessions that have not ended, page by page.
func (c *cluster) list(ctx context.Context, e *clusterEdge) (map[string]listedSession, error) {
	all := map[string]listedSession{}
	const states = "pending,starting,running,hibernated,unreachable,stopping"
	for cursor := ""; ; {
		var page struct {
			Sessions []listedSession
			Next     string `json:"next_cursor"`
		}
		if err := c.call(ctx, e, "GET", "/api/v1/sessions?limit=1000&state="+states+"&cursor="+cursor, nil, &page); err != nil {
			return nil, err
		}
		for _, s := range page.Sessions {
			all[s.ID] = s
		}
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

// placement tells how evenly the agents got sessions.
func (r *clusterRun) placement(p *Phase) {
	var counts []float64
	for _, a := range r.agents.all {
		counts = append(counts, float64(a.count()))
	}
	s := summarize(counts)
	p.Values[valuePlacedMin], p.Values[valuePlacedMedian], p.Values[valuePlacedMax] = s.Min, s.Median, s.Max
}
