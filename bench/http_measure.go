package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// httpStage is one measurement of HTTP while it runs.
type httpStage struct {
	*run
	visit     visit
	site      *site
	upstreams *process
	cookie    string // that clients send; empty: none
	result    *Measurement
}

// measureHTTP runs one system at one work. An error is that of the measurement,
// which is over, or of ctx.
func measureHTTP(ctx context.Context, r *run, w work, sys system, round int) (result Measurement, err error) {
	place, result, err := r.place(w, sys, round)
	if err != nil {
		return result, err
	}
	defer place.close()
	result.Clients = r.options.Clients
	st := &httpStage{run: r, visit: w.visit, site: place, result: &result}
	if st.upstreams, err = startUpstreams(ctx, place); err != nil {
		return result, err
	}
	defer st.upstreams.stop(time.Second)
	if err := sys.start(ctx, place); err != nil {
		return result, err
	}
	if st.cookie, err = place.examine(ctx, w.visit, sys); err != nil {
		return result, err
	}
	if err := place.settle(ctx, r.options.Duration); err != nil {
		return result, err
	}
	if w.visit.load == byWrk {
		err = st.byWrk(ctx)
	} else {
		err = st.byClients(ctx)
	}
	if gone := errors.Join(place.alive(), st.upstreams.alive()); gone != nil && ctx.Err() == nil {
		err = errors.Join(err, gone)
	}
	return result, err
}

func (s *httpStage) startClock(generator ...*process) (*clock, error) {
	return (&clock{result: s.result, system: s.site.processes, generator: generator, aside: s.awake}).start()
}

// byWrk lets wrk ask as fast as answers come. Its run before, of a second, is the
// warm-up; the measured one opens connections of its own, whose cost a longer
// run outweighs.
func (s *httpStage) byWrk(ctx context.Context) error {
	load := wrk{door: s.site.door, clients: s.options.Clients, visit: s.visit, cookie: s.cookie}
	warm, err := load.start(s.site, time.Second)
	if err != nil {
		return err
	}
	if _, err := load.result(ctx, warm); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	clock, err := s.startClock(s.upstreams)
	if err != nil {
		return err
	}
	p, err := load.start(s.site, s.options.Duration)
	if err != nil {
		return err
	}
	clock.generator = append(clock.generator, p)
	answered, err := load.result(ctx, p)
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	s.result.Bytes = answered.Bytes
	s.result.recordAnswers(answered.Answers, time.Duration(answered.Took)*time.Microsecond)
	return nil
}

// byClients lets our own clients ask.
func (s *httpStage) byClients(ctx context.Context) error {
	workers, err := startCrew(s.site, RoleClients)
	if err != nil {
		return err
	}
	defer workers.close()
	plan := &clientPlan{Door: s.site.door, Load: s.visit.load, Request: s.visit.request(s.cookie), Body: s.visit.body, Rate: s.options.Rate, Clients: s.options.Clients}
	if _, err := workers.tell(ctx, order{Do: doBegin, Clients: plan}); err != nil {
		return err
	}
	if _, err := workers.tell(ctx, order{Do: doStart}); err != nil {
		return err
	}
	if !sleep(ctx, time.Second) { // the warm-up
		return context.Cause(ctx)
	}
	if _, err := workers.tell(ctx, order{Do: doMark}); err != nil {
		return err
	}
	clock, err := s.startClock(workers.process, s.upstreams)
	if err != nil {
		return err
	}
	if !sleep(ctx, s.options.Duration) {
		return context.Cause(ctx)
	}
	counted, err := workers.tell(ctx, order{Do: doCount})
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	s.result.recordAnswers(counted.Clients.Answers, counted.Clients.Took)
	all, err := workers.tell(ctx, order{Do: doStop})
	if err != nil {
		return err
	}
	s.result.recordDelays(all.Clients.Delays) // also those of what was still to be answered
	return nil
}

func (m *Measurement) recordAnswers(n int64, took time.Duration) {
	cpu := m.totalCPU()
	m.Answers = n
	m.Values[keyAnswers] = float64(n) / took.Seconds()
	m.Values[keyCores] = cpu / m.Seconds
	if cpu > 0 {
		m.Values[keyAnswersPerCPU] = float64(n) / cpu
	}
}

// request is what a client sends.
func (v visit) request(cookie string) string {
	text := "GET " + v.path + " HTTP/1.1\r\nHost: " + appHost + "\r\n"
	if cookie != "" {
		text += "Cookie: " + cookie + "\r\n"
	}
	if v.close {
		text += "Connection: close\r\n"
	}
	return text + "\r\n"
}

func (d door) url() string {
	if d.TLS {
		return "https://" + d.Address
	}
	return "http://" + d.Address
}

// examine waits until the system is what the report calls it: it answers as its
// upstreams do, sets a cookie if it should, none to who has it, and resumes
// sessions of TLS. It returns the cookie that the clients of the visit send.
func (s *site) examine(ctx context.Context, v visit, sys system) (cookie string, err error) {
	offer := tlsOffer()
	offer.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	web := &http.Client{Timeout: readyLimit, Transport: &http.Transport{TLSClientConfig: offer, DisableKeepAlives: true}}
	defer web.CloseIdleConnections()
	err = until(ctx, s.processes[0], readyLimit, "is not as it should be", func() error {
		first, err := s.visit(ctx, web, v, "")
		if err != nil {
			return err
		}
		cookie = ""
		for _, c := range first.Cookies() {
			cookie = c.Name + "=" + c.Value
		}
		again, err := s.visit(ctx, web, v, cookie)
		if err != nil {
			return err
		}
		return sys.otherwise(first, again)
	})
	if !v.cookie {
		cookie = ""
	}
	return cookie, err
}

// otherwise tells what makes the system another one than the report says, by its
// answers to a client that comes and that comes again.
func (sys system) otherwise(first, again *http.Response) error {
	switch cookies := first.Cookies(); {
	case sys.cookie && len(cookies) != 1:
		return fmt.Errorf("the first answer has %d cookies; one should keep the client on its upstream", len(cookies))
	case !sys.cookie && len(cookies) > 0:
		return fmt.Errorf("the first answer has %d cookies, and the system should set none", len(cookies))
	case len(again.Cookies()) > 0:
		return errors.New("a client that has a cookie gets another one")
	case again.TLS != nil && !again.TLS.DidResume:
		return errors.New("a session of TLS is not resumed, so its cost does not compare")
	}
	return nil
}

func (s *site) visit(ctx context.Context, web *http.Client, v visit, cookie string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", s.door.url()+v.path, nil)
	if err != nil {
		return nil, err
	}
	request.Host = appHost
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || string(body) != v.body {
		return nil, fmt.Errorf("%s with %d bytes: %.100q", response.Status, len(body), body)
	}
	return response, nil
}
