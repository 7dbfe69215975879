package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

//go:embed wrk.lua
var wrkScript string

// wrkOffer keeps wrk's OpenSSL to what all systems must agree on; a system that
// does not is not spoken with.
const wrkOffer = `openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = offer
[offer]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
`

// wrkResult is what wrk.lua prints.
type wrkResult struct {
	Answers int64 `json:"answers"`
	Took    int64 `json:"took_us"`
	Bytes   int64 `json:"bytes"`
	Connect int64 `json:"connect"`
	Read    int64 `json:"read"`
	Write   int64 `json:"write"`
	Status  int64 `json:"status"`
	Timeout int64 `json:"timeout"`
}

// wrk is a run of it, which lasts whole seconds.
type wrk struct {
	door    door
	clients int
	visit   visit
	cookie  string // empty: none
}

const wrkThreads = 2

// start begins a run.
func (w wrk) start(s *site, duration time.Duration) (*process, error) {
	script, err := s.file("wrk.lua", wrkScript)
	if err != nil {
		return nil, err
	}
	offer, err := s.file("openssl.cnf", wrkOffer)
	if err != nil {
		return nil, err
	}
	argv := []string{findProgram("wrk"), "-t", fmt.Sprint(wrkThreads), "-c", fmt.Sprint(w.clients),
		"-d", fmt.Sprintf("%ds", int(duration.Seconds())), "--timeout", "10s", "-s", script, w.door.url() + w.visit.path, "--", "Host", appHost}
	if w.cookie != "" {
		argv = append(argv, "Cookie", w.cookie)
	}
	if w.visit.close {
		argv = append(argv, "Connection", "close")
	}
	p := prepare("wrk", s.dir, argv...)
	p.cmd.Stdout = &p.output
	p.cmd.Env = append(os.Environ(), "OPENSSL_CONF="+offer)
	return p, p.begin()
}

// result waits for the end of a run, and ends it when ctx ends. One with any
// error is none.
func (w wrk) result(ctx context.Context, p *process) (r wrkResult, err error) {
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.stop(0)
		return r, context.Cause(ctx)
	}
	_, text, found := strings.Cut(p.output.String(), "\nRESULT ")
	if !found {
		return r, fmt.Errorf("wrk ended without a result (%s): %s", p.cmd.ProcessState, p.output.String())
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("wrk's result: %w: %s", err, text)
	}
	return r, r.fault(len(w.visit.body))
}

// fault is what a run without faults has not.
func (r wrkResult) fault(size int) error {
	switch {
	case r.Connect+r.Read+r.Write+r.Timeout > 0:
		return fmt.Errorf("%d connections failed to open, %d reads and %d writes failed, %d answers did not come in time, beside %d that came",
			r.Connect, r.Read, r.Write, r.Timeout, r.Answers)
	case r.Status > 0:
		return fmt.Errorf("%d of %d answers had a status of 400 or more", r.Status, r.Answers)
	case r.Answers == 0 || r.Took <= 0:
		return errors.New("no answer came")
	case r.Bytes < r.Answers*int64(size):
		return fmt.Errorf("%d answers of %d bytes each came in %d bytes", r.Answers, size, r.Bytes)
	}
	return nil
}
