package main

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// nodeCookieName is the cookie that keeps a client's viewers at one edge of
// several.
const nodeCookieName = "SSNODE"

// nodeCookie names an edge to those that share the secret, and to nobody else.
// Safe for concurrent use.
type nodeCookie struct {
	affinity *balancer.Affinity
	nodes    func() []cluster.Node               // cluster.Cluster.Nodes
	homes    func(agentID string) []cluster.Node // in the order in which they are to be chosen
}

func newNodeCookie(secret []byte, nodes func() []cluster.Node, homes func(agentID string) []cluster.Node) *nodeCookie {
	config := balancer.AffinityConfig{Cookie: nodeCookieName, TTL: time.Hour, Path: "/"}
	return &nodeCookie{balancer.NewAffinity(config, "the cluster's nodes", secret), nodes, homes}
}

// node is which edge the cookies name, and until when; empty: none that is there.
func (c *nodeCookie) node(cookies [][]byte, now time.Time) (id string, expires time.Time) {
	mark, expires, ok := c.affinity.ReadCookies(cookies, now)
	if !ok {
		return "", time.Time{}
	}
	for _, n := range c.nodes() {
		if c.affinity.Mark(n.ID) == mark {
			return n.ID, expires
		}
	}
	return "", time.Time{}
}

// renew is the Set-Cookie header for a client that is about to view a session of
// the agent; empty: what it has is good, or there is nothing to name.
func (c *nodeCookie) renew(cookies [][]byte, agentID string, secure bool, now time.Time) string {
	homes := slices.DeleteFunc(c.homes(agentID), func(n cluster.Node) bool { return !takesViewers(n) })
	if len(homes) == 0 {
		return ""
	}
	has, expires := c.node(cookies, now)
	stays := slices.ContainsFunc(homes, func(n cluster.Node) bool { return n.ID == has })
	if stays && expires.Sub(now) > nodeCookieHalf {
		return ""
	}
	if !stays {
		has = best(homes).ID
	}
	return c.affinity.SetCookie(c.affinity.Mark(has), secure, now)
}

// nodeCookieHalf is when a cookie that is good is renewed all the same.
const nodeCookieHalf = 30 * time.Minute

// takesViewers tells whether a home may have one more.
func takesViewers(n cluster.Node) bool {
	return !n.Draining && (n.MaxStreams == 0 || n.Streams < n.MaxStreams)
}

// fewStreams are too few to send a viewer elsewhere for.
const fewStreams = 8

// best is the edge where a viewer should be: this one as long as it carries at
// most a quarter, and a few, more than the homes do on average, since a hop would
// cost it as much as the stream does; else the first.
func best(homes []cluster.Node) cluster.Node {
	sum := 0
	for _, n := range homes {
		sum += n.Streams
	}
	for _, n := range homes {
		if n.Self && n.Streams <= sum/len(homes)*5/4+fewStreams {
			return n
		}
	}
	return homes[0]
}

// nodeCookieFor is the Set-Cookie header of a ticket's answer; empty: none.
func (e *edge) nodeCookieFor(r *http.Request, s *store.Session) string {
	if e.nodeCookie == nil || s.AgentID == "" {
		return ""
	}
	var cookies [][]byte
	for _, header := range r.Header["Cookie"] {
		cookies = append(cookies, []byte(header))
	}
	return e.nodeCookie.renew(cookies, s.AgentID, strings.HasPrefix(e.publicURL(r), "https:"), e.now())
}

// nodeOf is the edge that a viewer's cookie names; empty: none.
func (e *edge) nodeOf(h *fasthttp.RequestHeader) string {
	if e.nodeCookie == nil {
		return ""
	}
	id, _ := e.nodeCookie.node(h.PeekAll(fasthttp.HeaderCookie), e.now())
	return id
}
