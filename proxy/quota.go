package proxy

import "fmt"

// quota counts the streams of the node, of each session and of each user, and
// bounds them.
type quota struct {
	perNode, perSession, perUser int // 0: no bound

	node     int
	sessions map[string]int
	users    map[user]int
}

// user is who owns the sessions that streams belong to. Whoever looks at a
// session with a ticket counts as its owner, who let them.
type user struct{ org, owner string }

func userOf(g Grant) user { return user{g.Org, g.Owner} }

func newQuota(o Options) quota {
	return quota{
		perNode: o.MaxStreams, perSession: o.MaxStreamsPerSession, perUser: o.MaxStreamsPerUser,
		sessions: make(map[string]int), users: make(map[user]int),
	}
}

// full tells why nobody can have one stream more; nil when somebody can.
func (q *quota) full() *Refusal {
	if reached(q.node, q.perNode) {
		return &Refusal{Reason: LimitReached}
	}
	return nil
}

// refuses tells why g can't have one stream more; nil when it can.
func (q *quota) refuses(g Grant) *Refusal {
	if refusal := q.full(); refusal != nil {
		return refusal
	}
	if n := q.sessions[g.Session]; reached(n, q.perSession) {
		return SessionFull(n)
	}
	if n := q.users[userOf(g)]; reached(n, q.perUser) {
		return UserFull(n)
	}
	return nil
}

// SessionFull refuses one viewer more of a session that has n.
func SessionFull(n int) *Refusal {
	return &Refusal{Reason: SessionLimit, Detail: fmt.Sprintf("This desktop has %d viewers, as many as it may have at once; close one and try again.", n)}
}

// UserFull refuses one viewer more of a user whose sessions have n.
func UserFull(n int) *Refusal {
	return &Refusal{Reason: UserLimit, Detail: fmt.Sprintf("The desktops of this desktop's owner have %d viewers, as many as they may have at once; close one and try again.", n)}
}

func reached(count, bound int) bool { return bound > 0 && count >= bound }

func (q *quota) take(g Grant) {
	q.node++
	q.sessions[g.Session]++
	q.users[userOf(g)]++
}

// giveBack undoes one take.
func (q *quota) giveBack(g Grant) {
	q.node--
	release(q.sessions, g.Session)
	release(q.users, userOf(g))
}

func release[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
