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

// measureHTTP runs one system at one work. An error is that of the measurement,
// which is over, or of ctx.
func measureHTTP(ctx context.Context, r *run, w work, sys system, round int) (result Measurement, err error) {
	place, result, err := r.place(w, sys, round)
	if err != nil {
		return result, err
	}
	result.Clients = r.options.Clients
	defer place.close()
	upstreams, err := startUpstreams(ctx, place)
	if err != nil {
		return result, err
	}
	defer upstreams.stop(time.Second)
	if err := sys.start(ctx, place); err != nil {
		return result, err
	}
	cookie, err := place.examine(ctx, w.visit, sys)
	if err != nil {
		return result, err
	}
	if err := place.settle(ctx, r.options.Duration); err != nil {
		return result, err
	}
	if w.visit.load == byWrk {
		err = measureWrk(ctx, r, w, place, cookie, upstreams, &result)
	} else {
		err = measureClients(ctx, r, w, place, cookie, upstreams, &result)
	}
	if gone := errors.Join(place.alive(), upstreams.alive()); gone != nil && ctx.Err() == nil {
		err = errors.Join(err, gone)
	}
	return result, err
}

// measureWrk lets wrk ask as fast as answers come. Its first second is the
// warm-up; it opens connections of its own, whose cost a longer run outweighs.
func measureWrk(ctx context.Context, r *run, w work, s *site, cookie string, upstreams *process, result *Measurement) error {
	load := wrk{door: s.door, clients: r.options.Clients, visit: w.visit, cookie: cookie}
	warm, err := load.start(s, time.Second)
	if err != nil {
		return err
	}
	defer warm.stop(0)
	if _, err := load.result(ctx, warm); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	clock, err := startClock(result, s.processes, upstreams)
	if err != nil {
		return err
	}
	p, err := load.start(s, r.options.Duration)
	if err != nil {
		return err
	}
	defer p.stop(0)
	clock.generator = append(clock.generator, p)
	answered, err := load.result(ctx, p)
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	result.Bytes = answered.Bytes
	result.recordAnswers(answered.Answers, time.Duration(answered.Took)*time.Microsecond)
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

// measureClients lets our own clients ask.
func measureClients(ctx context.Context, r *run, w work, s *site, cookie string, upstreams *process, result *Measurement) error {
	clients, err := startCrew(s, RoleClients)
	if err != nil {
		return err
	}
	defer clients.close()
	tell := func(do string) (*clientCounts, error) {
		o := order{Do: do}
		if do == doBegin {
			o.Clients = &clientPlan{Door: s.door, Load: w.visit.load, Request: w.visit.request(cookie), Body: w.visit.body, Rate: r.options.Rate, Clients: r.options.Clients}
		}
		a, err := clients.tell(ctx, o)
		return a.Clients, err
	}
	for _, do := range []string{doBegin, doStart} {
		if _, err := tell(do); err != nil {
			return err
		}
	}
	if !sleep(ctx, time.Second) { // the warm-up
		return context.Cause(ctx)
	}
	if _, err := tell(doMark); err != nil {
		return err
	}
	clock, err := startClock(result, s.processes, clients.process, upstreams)
	if err != nil {
		return err
	}
	if !sleep(ctx, r.options.Duration) {
		return context.Cause(ctx)
	}
	counts, err := tell(doCount)
	if err != nil {
		return err
	}
	if err := clock.stop(); err != nil {
		return err
	}
	result.recordAnswers(counts.Answers, counts.Took)
	if counts, err = tell(doStop); err != nil { // with the delays of what was still to be answered
		return err
	}
	result.recordDelays(counts.Delays)
	return nil
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
