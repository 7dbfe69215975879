package balancer

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	defaultInterval = 15 * time.Second
	defaultTimeout  = 5 * time.Second
	defaultRun      = 2 // results in a row
	defaultStatus   = "200-399"

	// shortestInterval is where checks would begin to be a load of their own.
	shortestInterval = 10 * time.Millisecond

	// bodyLimit is how much of a body is read and searched, in bytes.
	bodyLimit = 64 << 10
)

// HealthConfig is how one upstream is asked whether it can serve. With neither
// Path nor TCP it isn't asked, and counts as up.
type HealthConfig struct {
	Path string // an HTTP check: what is asked for with GET, "/health?full=1"
	TCP  bool   // a TCP check: it is up when it takes a connection

	Interval time.Duration // from the start of one check to that of the next, 10% more or less; 0: 15 s
	Timeout  time.Duration // for a check as a whole, at most Interval; 0: 5 s, or Interval if that is less

	Healthy   int // good results in a row after which it is up again; 0: 2
	Unhealthy int // bad results in a row after which it is down; 0: 2

	// The rest is for HTTP checks.
	Status string // good answers: codes and ranges, "200,204,300-399"; "": 200-399
	Body   string // must be contained in the first 64 KiB of the body; "": any body will do
	Host   string // for the Host header; "": the upstream's own
}

// Fault is what is wrong with one key of a config.
type Fault struct {
	Key  string // "interval", "max_out"
	Text string // which value is wrong and what to change
}

// active tells whether there is anything to check.
func (c HealthConfig) active() bool { return c.Path != "" || c.TCP }

func (c HealthConfig) withDefaults() HealthConfig {
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = min(defaultTimeout, c.Interval)
	}
	if c.Healthy == 0 {
		c.Healthy = defaultRun
	}
	if c.Unhealthy == 0 {
		c.Unhealthy = defaultRun
	}
	if c.Status == "" {
		c.Status = defaultStatus
	}
	return c
}

// Validate tells everything that is wrong with the config.
func (c HealthConfig) Validate() []Fault {
	var faults []Fault
	add := func(key, format string, args ...any) {
		faults = append(faults, Fault{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case c.TCP && c.Path != "":
		add("tcp", "an upstream is checked by HTTP (path) or by TCP; remove one of the two")
	case !c.active() && c != (HealthConfig{}):
		add("path", "is missing, so nothing would be checked; give the path to ask for, or tcp: true")
	case c.Path != "" && (c.Path[0] != '/' || !printable(c.Path) || strings.Contains(c.Path, "#")):
		add("path", "%q can't be asked for; it begins with a / and has what is no plain character percent-encoded", c.Path)
	}
	c.validateTimes(add)
	for _, run := range []struct {
		key   string
		value int
	}{{"healthy", c.Healthy}, {"unhealthy", c.Unhealthy}} {
		if run.value < 0 {
			add(run.key, "%d is too small; it is a number of checks in a row, %d unless given", run.value, defaultRun)
		}
	}
	c.validateAnswer(add)
	return faults
}

func (c HealthConfig) validateTimes(add func(key, format string, args ...any)) {
	if c.Interval != 0 && c.Interval < shortestInterval {
		add("interval", "%s is too short; use %s or more, %s unless given", c.Interval, shortestInterval, defaultInterval)
		return
	}
	switch full := c.withDefaults(); {
	case c.Timeout < 0:
		add("timeout", "%s is negative; leave it out for %s", c.Timeout, defaultTimeout)
	case full.Timeout > full.Interval:
		add("timeout", "%s is longer than the interval of %s; a check has to end before the next", full.Timeout, full.Interval)
	}
}

func (c HealthConfig) validateAnswer(add func(key, format string, args ...any)) {
	if c.TCP && c.Path == "" {
		for _, key := range []struct{ name, value string }{{"status", c.Status}, {"body", c.Body}, {"host", c.Host}} {
			if key.value != "" {
				add(key.name, "has no meaning for a TCP check; remove it, or give a path in place of tcp")
			}
		}
		return
	}
	if _, err := parseStatus(c.Status); c.Status != "" && err != nil {
		add("status", "%s", err)
	}
	if len(c.Body) > bodyLimit {
		add("body", "has %d bytes, and only the first %d of an answer are looked at; shorten it", len(c.Body), bodyLimit)
	}
	if address, err := url.Parse("http://" + c.Host); c.Host != "" && (err != nil || address.Host != c.Host || !printable(c.Host)) {
		add("host", "%q is not a host; write it like www.example.org or www.example.org:8080", c.Host)
	}
}

// printable tells whether text is of ASCII characters that can be seen.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// statusRange is a range of codes, both ends in it.
type statusRange struct{ from, to int }

// statuses are the codes of good answers.
type statuses []statusRange

// parseStatus reads a list of codes and ranges from 200 to 599, as in
// "200, 204, 300-399".
func parseStatus(text string) (statuses, error) {
	var all statuses
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		low, high, isRange := strings.Cut(word, "-")
		from, err := parseCode(low)
		to := from
		if isRange {
			var wrong error
			to, wrong = parseCode(high)
			err = errors.Join(err, wrong)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is no HTTP status from 200 to 599 and no range of them; write %s or 200,204", word, defaultStatus)
		case from > to:
			return nil, fmt.Errorf("%q is a range from the higher to the lower; write %d-%d", word, to, from)
		}
		all = append(all, statusRange{from, to})
	}
	return all, nil
}

func parseCode(text string) (int, error) {
	code, err := strconv.ParseUint(text, 10, 16)
	if err != nil || len(text) != 3 || code < 200 || code > 599 {
		return 0, strconv.ErrRange
	}
	return int(code), nil
}

func (s statuses) has(code int) bool {
	for _, r := range s {
		if r.from <= code && code <= r.to {
			return true
		}
	}
	return false
}

// health is what is known of an upstream by its checks.
type health uint8

const (
	healthUnknown health = iota // not checked yet
	healthUp
	healthDown
)

func (h health) String() string {
	switch h {
	case healthUp:
		return "up"
	case healthDown:
		return "down"
	default:
		return "unknown"
	}
}

// thresholds makes health of the results of checks. The first result decides
// alone; from then on it takes as many in a row as are given here, 1 or more.
type thresholds struct {
	healthy, unhealthy int
	state              health
	against            int // results in a row that speak against state
}

func (t *thresholds) note(ok bool) (changed bool) {
	says := healthDown
	if ok {
		says = healthUp
	}
	if says == t.state {
		t.against = 0
		return false
	}
	t.against++
	if t.against < t.needed() {
		return false
	}
	t.state, t.against = says, 0
	return true
}

// needed is how many results in a row change the state.
func (t *thresholds) needed() int {
	switch t.state {
	case healthUp:
		return t.unhealthy
	case healthDown:
		return t.healthy
	default:
		return 1
	}
}
