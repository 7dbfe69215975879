package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The kinds of requests, as a report calls them.
const (
	kindList   = "GET /sessions"
	kindGet    = "GET /sessions/{id}"
	kindCreate = "POST /sessions"
	kindAck    = "POST /sessions, to the agent's ack" // no request of its own: the same with its start
	kindDelete = "DELETE /sessions/{id}"
	kindTicket = "POST /sessions/{id}/vnc"
)

func apiKinds() []string {
	return []string{kindList, kindGet, kindCreate, kindAck, kindDelete, kindTicket}
}

// apiMix is how many of a hundred requests are of a kind. As many sessions go as
// come.
func apiMix() map[string]int {
	return map[string]int{kindList: 30, kindGet: 30, kindCreate: 10, kindDelete: 10, kindTicket: 20}
}

const (
	ackLimit    = 10 * time.Second
	answerLimit = 30 * time.Second
	mostWaiting = 5000 // requests; beyond it the system has stopped
)

// apiUser is one of those who ask: with a key, at one of the edges.
type apiUser struct {
	authorization string
	edge          string // its address, http://HOST:PORT
}

// apiSession is one that requests can be about.
type apiSession struct {
	id   string
	user int
}

// apiLoad asks at a fixed rate, whether answers come or not: each request has its
// time from the plan, is sent then by a goroutine of its own, and its delay counts
// from that time. So neither an answer that is late nor a generator that is makes
// a delay look shorter.
type apiLoad struct {
	web    *http.Client
	users  []apiUser
	acks   *acks
	random *rand.Rand // of the goroutine that plans

	asking  sync.WaitGroup
	waiting chan struct{} // has an entry for each request that waits

	mu        sync.Mutex
	stay      []apiSession // are never deleted
	pass      []apiSession // are deleted, the oldest first
	marked    time.Time    // requests of times before count for nothing; zero: all do
	delays    map[string]*delays
	errors    map[string]int
	fault     map[string]error // the first of each kind
	late      *delays          // from a request's time to its being sent
	created   int              // since the start
	deleted   int
	uncertain int // creates and deletes of which nobody knows whether they happened
}

func newAPILoad(web *http.Client, users []apiUser, taken *acks, seed uint64) *apiLoad {
	l := &apiLoad{web: web, users: users, acks: taken, random: rand.New(rand.NewPCG(seed, 0)), waiting: make(chan struct{}, mostWaiting),
		delays: map[string]*delays{}, errors: map[string]int{}, fault: map[string]error{}, late: newDelays()}
	for _, kind := range apiKinds() {
		l.delays[kind] = newDelays()
	}
	return l
}

// run asks rate times a second until ctx ends, then waits for the answers.
func (l *apiLoad) run(ctx context.Context, rate int) {
	defer l.asking.Wait()
	interval := time.Second / time.Duration(rate)
	deck := newDeck(apiMix())
	for at := time.Now(); ; at = at.Add(interval) {
		if wait := time.Until(at); wait > 0 && !sleep(ctx, wait) || ctx.Err() != nil {
			return
		}
		l.send(at, deck.draw(l.random))
	}
}

// send makes the request whose time is at.
func (l *apiLoad) send(at time.Time, kind string) {
	late := time.Since(at)
	target := l.target(kind)
	l.mu.Lock()
	if !at.Before(l.marked) {
		l.late.add(late)
	}
	l.mu.Unlock()
	select {
	case l.waiting <- struct{}{}:
	default:
		l.failed(at, kind, fmt.Errorf("not sent: %d requests wait already", mostWaiting))
		return
	}
	l.asking.Go(func() {
		defer func() { <-l.waiting }()
		l.do(at, kind, target)
	})
}

// target draws what the request is about. Those that are looked at stay; those
// that are deleted are taken for that alone.
func (l *apiLoad) target(kind string) apiSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case kind == kindCreate || kind == kindList:
		return apiSession{user: l.random.IntN(len(l.users))}
	case kind != kindDelete:
		return l.stay[l.random.IntN(len(l.stay))]
	case len(l.pass) == 0:
		return apiSession{}
	}
	oldest := l.pass[0]
	l.pass = l.pass[1:]
	return oldest
}

func (l *apiLoad) do(at time.Time, kind string, target apiSession) {
	var err error
	switch kind {
	case kindList:
		_, err = l.ask(target.user, "GET", "/api/v1/sessions", "", http.StatusOK)
	case kindGet:
		_, err = l.ask(target.user, "GET", "/api/v1/sessions/"+target.id, "", http.StatusOK)
	case kindTicket:
		_, err = l.ask(target.user, "POST", "/api/v1/sessions/"+target.id+"/vnc", `{"mode":"control"}`, http.StatusOK)
	case kindDelete:
		err = l.remove(target)
	case kindCreate:
		l.create(at, target.user)
		return
	}
	if err != nil {
		l.failed(at, kind, err)
		return
	}
	l.answered(at, kind, time.Now())
}

func (l *apiLoad) remove(target apiSession) error {
	if target.id == "" {
		return errors.New("no session is left that may be deleted: creates do not come through")
	}
	_, err := l.ask(target.user, "DELETE", "/api/v1/sessions/"+target.id, "", http.StatusAccepted)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.uncertain++
	} else {
		l.deleted++
	}
	return err
}

func (l *apiLoad) create(at time.Time, user int) {
	body, err := l.ask(user, "POST", "/api/v1/sessions", `{"name":"desk"}`, http.StatusAccepted)
	answered := time.Now()
	var made struct {
		ID string `json:"id"`
	}
	if err == nil {
		err = json.Unmarshal(body, &made)
	}
	if err != nil {
		l.mu.Lock()
		l.uncertain++
		l.mu.Unlock()
		l.failed(at, kindCreate, err)
		return
	}
	l.answered(at, kindCreate, answered)
	taken, err := l.acks.wait(made.ID)
	if err != nil {
		l.failed(at, kindAck, err)
	} else if taken.Before(answered) {
		taken = answered
	}
	if err == nil {
		l.answered(at, kindAck, taken)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.created++
	l.pass = append(l.pass, apiSession{made.ID, user})
}

// ask makes one request and returns its answer's body.
func (l *apiLoad) ask(user int, method, path, body string, status int) ([]byte, error) {
	request, err := http.NewRequest(method, l.users[user].edge+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", l.users[user].authorization)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := l.web.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != status {
		return nil, fmt.Errorf("%s: status %d: %.300s", method, response.StatusCode, got)
	}
	return got, nil
}

func (l *apiLoad) answered(at time.Time, kind string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !at.Before(l.marked) {
		l.delays[kind].add(now.Sub(at))
	}
}

// failed counts an error, also one of the warm-up: it should not be there.
func (l *apiLoad) failed(_ time.Time, kind string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[kind]++
	if l.fault[kind] == nil {
		l.fault[kind] = err
	}
}

// mark forgets what was measured so far.
func (l *apiLoad) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marked = time.Now()
	for _, d := range l.delays {
		d.Reset()
	}
	l.late.Reset()
}

// deck is the mix as cards: drawn until none is left, then shuffled anew, so that
// each hundred requests has exactly its share of each kind.
type deck struct{ cards, left []string }

func newDeck(mix map[string]int) *deck {
	d := &deck{}
	for _, kind := range apiKinds() { // in an order that does not change
		for range mix[kind] {
			d.cards = append(d.cards, kind)
		}
	}
	return d
}

func (d *deck) draw(random *rand.Rand) string {
	if len(d.left) == 0 {
		d.left = append(d.left, d.cards...)
		random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	last := len(d.left) - 1
	kind := d.left[last]
	d.left = d.left[:last]
	return kind
}

// acks are when agents took the starts of sessions.
type acks struct {
	mu     sync.Mutex
	taken  map[string]time.Time      // not waited for yet
	wanted map[string]chan time.Time // waited for
}

func newAcks() *acks {
	return &acks{taken: map[string]time.Time{}, wanted: map[string]chan time.Time{}}
}

// note is told of each start that an agent takes.
func (a *acks) note(session string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.wanted[session]; c != nil {
		delete(a.wanted, session)
		c <- now // it has room
		return
	}
	a.taken[session] = now
}

// wait returns when an agent took the session's start, and forgets that.
func (a *acks) wait(session string) (time.Time, error) {
	a.mu.Lock()
	if at, ok := a.taken[session]; ok {
		delete(a.taken, session)
		a.mu.Unlock()
		return at, nil
	}
	c := make(chan time.Time, 1)
	a.wanted[session] = c
	a.mu.Unlock()
	timer := time.NewTimer(ackLimit)
	defer timer.Stop()
	select {
	case at := <-c:
		return at, nil
	case <-timer.C:
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.wanted, session)
		return time.Time{}, fmt.Errorf("no agent took the start of session %s within %v", session, ackLimit)
	}
}
