package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pagePolicy is how long the viewer page waits for what, read from its source.
type pagePolicy struct {
	shortest, longest time.Duration // between two attempts
	settled           time.Duration // a stream that lived this long has waits begin anew
	handOver          time.Duration // after an edge that leaves
	starting          time.Duration // between two looks at a desktop that starts
	patience          time.Duration // for an answer
	silence           time.Duration // of a stream, until it is taken for dead
}

func readPolicy(t *testing.T) pagePolicy {
	t.Helper()
	constant := func(file, name string) time.Duration {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", "api", "console", "web", "src", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^const ` + name + ` = ([0-9_]+);`).FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no constant %s", file, name)
		}
		n, err := strconv.Atoi(strings.ReplaceAll(string(found[1]), "_", ""))
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n) * time.Millisecond
	}
	return pagePolicy{
		shortest: constant("backoff.ts", "shortest"),
		longest:  constant("backoff.ts", "longest"),
		settled:  constant("viewer/connection.ts", "settled"),
		handOver: constant("viewer/connection.ts", "handOver"),
		starting: constant("viewer/connection.ts", "pollWhileStarting"),
		patience: constant("api/client.ts", "patience"),
		silence:  constant("viewer/watchdog.ts", "probeAfter") + constant("viewer/watchdog.ts", "patience"),
	}
}

// pageMimic asks and waits as the viewer page does (viewer/connection.ts).
type pageMimic struct {
	pagePolicy
	client *http.Client // keeps connections, as a browser does
	random *rand.Rand
	wait   time.Duration
}

func newPageMimic(policy pagePolicy, seed uint64) *pageMimic {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &pageMimic{
		pagePolicy: policy, wait: policy.shortest, random: rand.New(rand.NewPCG(seed, 1)),
		client: &http.Client{Transport: transport, Timeout: policy.patience},
	}
}

// errSilent is the page's own verdict on a stream.
var errSilent = errors.New("silent: nothing came")

// hindrance is why there is no stream to be opened now.
type hindrance struct {
	code  string
	after time.Duration // to wait at least
	text  string
}

func (h *hindrance) Error() string { return h.text }

// ticket waits until the desktop runs, and gets a ticket.
func (p *pageMimic) ticket(ctx context.Context, in *installation, id string) (token string, err error) {
	for {
		var s desktop
		if err := p.ask(ctx, in, "GET", "/api/v1/sessions/"+id, nil, &s); err != nil {
			return "", err
		}
		switch s.State {
		case "running":
			var ticket struct {
				Token  string
				NotNow *struct {
					Code  string
					After int `json:"retry_after"`
				} `json:"not_now"`
			}
			err := p.ask(ctx, in, "POST", "/api/v1/sessions/"+id+"/vnc", map[string]string{"mode": "control"}, &ticket)
			if err == nil && ticket.NotNow != nil {
				err = &hindrance{ticket.NotNow.Code, time.Duration(ticket.NotNow.After) * time.Second, "not now: " + ticket.NotNow.Code}
			}
			return ticket.Token, err
		case "pending", "starting":
			p.sleep(ctx, p.starting)
		default:
			return "", &hindrance{code: "agent_offline", text: fmt.Sprintf("the session is %s (%s)", s.State, s.Reason)}
		}
	}
}

func (p *pageMimic) ask(ctx context.Context, in *installation, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, in.URL+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+in.APIKey)
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		var problem struct{ Code string }
		_ = json.Unmarshal(answer, &problem) // something else may have answered
		after, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return &hindrance{problem.Code, time.Duration(after) * time.Second, fmt.Sprintf("%s: status %d: %s", path, response.StatusCode, answer)}
	}
	return json.Unmarshal(answer, into)
}

// pause waits after a stream that ended with a word, or an attempt that failed.
func (p *pageMimic) pause(ctx context.Context, word string, err error, lived time.Duration) {
	var h *hindrance
	if errors.As(err, &h) {
		word = h.code
	} else {
		h = &hindrance{}
	}
	if lived >= p.settled {
		p.wait = p.shortest
	}
	switch {
	case word == "node_draining" && lived > 0:
		p.sleep(ctx, time.Duration(p.random.Float64()*float64(p.handOver)))
		return
	case word == "node_draining":
		h.after = 0
	}
	p.sleep(ctx, h.after+p.wait/2+time.Duration(p.random.Float64()*float64(p.wait/2)))
	p.wait = min(2*p.wait, p.longest)
}

func (p *pageMimic) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
