package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachHundredRequestsHaveTheirShareOfEachKind(t *testing.T) {
	total := 0
	for _, n := range apiMix() {
		total += n
	}
	if total != 100 {
		t.Errorf("the mix has %d cards", total)
	}
	d, random := newDeck(apiMix()), rand.New(rand.NewPCG(1, 0))
	for range 3 {
		drawn := map[string]int{}
		for range total {
			drawn[d.draw(random)]++
		}
		for kind, want := range apiMix() {
			if drawn[kind] != want {
				t.Errorf("%s was drawn %d times, want %d", kind, drawn[kind], want)
			}
		}
	}
}

// TestDelaysCountFromThePlan: an answer's, and the generator's own lateness.
func TestDelaysCountFromThePlan(t *testing.T) {
	l := newAPILoad(nil, []apiUser{{}}, newAcks(), 1)
	at := time.Now()
	l.answered(at, kindGet, at.Add(80*time.Millisecond))
	l.mark()
	l.answered(at, kindGet, at.Add(time.Second)) // its time was before the mark
	if n := l.delays[kindGet].TotalCount(); n != 0 {
		t.Errorf("%d answers of the warm-up count", n)
	}
	later := time.Now()
	l.answered(later, kindGet, later.Add(80*time.Millisecond))
	l.failed(later, kindTicket, errors.New("first"))
	l.failed(later, kindTicket, errors.New("second"))
	r := &APIReport{}
	r.take(l)
	for _, k := range r.Kinds {
		switch {
		case k.Kind == kindGet && (k.Answers != 1 || k.P95 < 79.9 || k.P95 > 80.1):
			t.Errorf("%+v", k)
		case k.Kind == kindTicket && (k.Errors != 2 || k.Fault != "first"):
			t.Errorf("%+v", k)
		}
	}
	if err := r.fault(); err == nil || err.Error() != kindTicket+": 2 errors; the first: first" {
		t.Errorf("the fault is %v", err)
	}
	for _, v := range r.Verdicts {
		if v.Reached {
			t.Errorf("%s is reached without an answer", v.Kind)
		}
	}
}

func TestVerdictsAreOfTheNinetyFifthPercentile(t *testing.T) {
	l := newAPILoad(nil, []apiUser{{}}, newAcks(), 1)
	at := time.Now()
	for i := range 1000 {
		slow := 0 * time.Second
		if i%20 == 0 { // one in twenty
			slow = time.Second
		}
		l.answered(at, kindTicket, at.Add(4*time.Millisecond+slow))
		l.answered(at, kindAck, at.Add(51*time.Millisecond))
		l.answered(at, kindList, at.Add(3*time.Millisecond))
	}
	l.failed(at, kindList, errors.New("refused"))
	r := &APIReport{}
	r.take(l)
	for _, v := range r.Verdicts {
		if want := v.Kind == kindTicket; v.Reached != want {
			t.Errorf("%s: p95 %v of %v is reached: %t", v.Kind, v.P95, v.Limit, v.Reached)
		}
	}
}

func TestAcksAreFoundWhicheverComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcks()
		began := time.Now()
		a.note("before")
		time.Sleep(time.Second)
		if at, err := a.wait("before"); err != nil || !at.Equal(began) {
			t.Errorf("%v, %v", at, err)
		}
		time.AfterFunc(time.Second, func() { a.note("after") })
		if at, err := a.wait("after"); err != nil || at.Sub(began) != 2*time.Second {
			t.Errorf("%v, %v", at, err)
		}
		if _, err := a.wait("never"); err == nil || time.Since(began) != 2*time.Second+ackLimit {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if len(a.taken)+len(a.wanted) != 0 {
			t.Errorf("left: %v, %v", a.taken, a.wanted)
		}
	})
}

// TestRequestsAreSentWhetherAnswersComeOrNot: the server answers nobody before
// twenty have asked.
func TestRequestsAreSentWhetherAnswersComeOrNot(t *testing.T) {
	const together = 20
	var asked atomic.Int32
	taken := newAcks()
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if n == together {
			close(all)
		}
		<-all
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Path == "/api/v1/sessions" && r.Method == http.MethodPost:
			id := strconv.Itoa(int(n))
			taken.note(id)
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"id":"` + id + `"}`))
		}
	}))
	defer server.Close()
	l := newAPILoad(server.Client(), []apiUser{{authorization: "Bearer x", edge: server.URL}}, taken, 1)
	l.stay, l.pass = []apiSession{{"stays", 0}}, make([]apiSession, 1000)
	for i := range l.pass {
		l.pass[i].id = "goes"
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-all
		cancel()
	}()
	l.run(ctx, 1000)
	r := &APIReport{}
	r.take(l)
	if err := r.fault(); err != nil {
		t.Error(err)
	}
	if n := r.requests(); n != int64(asked.Load()) {
		t.Errorf("%d answers of %d requests", n, asked.Load())
	}
}
