package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// hang is how long a test waits for what must happen.
const hang = 30 * time.Second

// The callers of the tests: name, organisation, owner, role.
const (
	admin    = "admin"
	alice    = "alice"                  // owns sessions in org a
	bob      = "bob of alice's org"     // another owner there
	stranger = "alice of another org"   // the same owner name elsewhere
	joiner   = "a join token of org a"  // role agent, owner alice
	nobody   = "without credentials"    // sends none
	guesser  = "with a key that is not" // sends a wrong one
)

// world is the API on a real store, served as the edge serves it.
type world struct {
	node     Node // the only edge
	t        testing.TB
	file     string
	store    *sqldb.DB
	coord    *store.Local
	auth     *auth.Auth
	registry *prometheus.Registry
	options  Options
	url      string
	stop     func()
	secrets  map[string]string // by caller
	logs     *logs
}

// logs is everything that was logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) Sync() error { return nil }

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, file: filepath.Join(t.TempDir(), "streamspace.db"), secrets: map[string]string{}, logs: &logs{}}
	w.start(change...)
	t.Cleanup(func() { w.stop() })
	for _, k := range []struct {
		caller, org, owner string
		role               store.Role
	}{
		{admin, "default", "admin", store.RoleAdmin},
		{alice, "a", "alice", store.RoleUser},
		{bob, "a", "bob", store.RoleUser},
		{stranger, "b", "alice", store.RoleUser},
		{joiner, "a", "alice", store.RoleAgent},
	} {
		w.secrets[k.caller], _ = w.addKey(k.caller, k.org, k.owner, k.role)
	}
	w.secrets[guesser], _ = auth.NewSecret()
	return w
}

// start opens the store and serves; stop undoes both, so that the two make a
// restart.
func (w *world) start(change ...func(*Options)) {
	w.t.Helper()
	w.open(change...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.url = "http://" + listener.Addr().String()
	server := &fasthttp.Server{
		Handler:     fasthttpadaptor.NewFastHTTPHandler(New(w.options)),
		ReadTimeout: hang, WriteTimeout: hang, NoDefaultServerHeader: true,
		MaxRequestBodySize: MaxBody + 1, Logger: quiet{},
		MaxIdleWorkerDuration: 10 * time.Millisecond, // the goroutine that waits for it outlives the server
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	w.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		_ = w.coord.Close()
		if err := server.ShutdownWithContext(ctx); err != nil {
			w.t.Errorf("the server did not shut down: %v", err)
		}
		if err := <-served; err != nil {
			w.t.Errorf("serve: %v", err)
		}
		_ = w.store.Close()
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// open opens the store and fills the options; nothing is served yet.
func (w *world) open(change ...func(*Options)) {
	w.t.Helper()
	ctx := context.Background()
	var err error
	if w.store, err = sqldb.Open(ctx, w.file); err != nil {
		w.t.Fatal(err)
	}
	w.coord, w.registry = store.NewLocal(), prometheus.NewRegistry()
	if w.auth, err = auth.New(ctx, w.store, w.coord); err != nil {
		w.t.Fatal(err)
	}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), w.logs, zapcore.DebugLevel)
	w.node = Node{ID: "edge-1", Status: "online", Version: "test", Streams: 1}
	w.options = Options{
		Store: w.store, Coord: w.coord, Auth: w.auth, Log: zap.New(core), Metrics: NewMetrics(w.registry), Version: "test",
		CreateSession: w.createSession,
		StopSession:   w.stopSession,
		CheckEndpoint: func(endpoint string) error {
			if endpoint != "127.0.0.1:5900" {
				return store.Errorf(store.Forbidden, "it is in no rule of direct.allow")
			}
			return nil
		},
		Viewers: func(string) int { return 2 },
		AgentStatus: func(a *store.Agent) store.AgentStatus {
			return map[bool]store.AgentStatus{true: store.AgentDraining, false: store.AgentOnline}[a.Draining]
		},
		AgentActive: func(string) int { return 3 },
		AgentRoom:   func(a *store.Agent) int { return a.Capacity - 1 },
		AgentHeard:  func(a *store.Agent) time.Time { return a.LastHeartbeat.Add(40 * time.Second) },
		AgentHomes:  func(string) []string { return []string{"edge-1"} },
		DrainAgent:  func(ctx context.Context, id string) error { return w.setDraining(ctx, id, true) },
		ResumeAgent: func(ctx context.Context, id string) error { return w.setDraining(ctx, id, false) },
		DeleteAgent: w.store.DeleteAgent,
		Nodes: func(context.Context) ([]Node, error) {
			return []Node{w.node}, nil
		},
		DrainNode:  func(_ context.Context, id string) (Node, error) { return w.setNode(id, "draining", true) },
		ResumeNode: func(_ context.Context, id string) (Node, error) { return w.setNode(id, "online", false) },
		Pools: func() []Pool {
			return []Pool{{Name: "web", Policy: "least_connections", Upstreams: []Upstream{{ID: "10.0.0.21:8080", URL: "http://10.0.0.21:8080", State: "up", Weight: 1}}}}
		},
		SetUpstream: func(pool, upstream, setting string, drain time.Duration) (Upstream, error) {
			if pool != "web" || upstream != "10.0.0.21:8080" {
				return Upstream{}, store.Errorf(store.NotFound, "there is no upstream %q in a pool %q", upstream, pool)
			}
			u := Upstream{ID: upstream, URL: "http://10.0.0.21:8080", State: setting, Weight: 1}
			if setting == "enabled" {
				u.State = "up"
			}
			if drain > 0 {
				ends := time.Now().Add(drain)
				u.DrainEnds = &ends
			}
			return u, nil
		},
		Reload: func() ([]string, error) { return []string{"pools"}, nil },
		Health: func(ctx context.Context) Health {
			h := Health{Version: "test", Database: connected, Redis: disabled, Agents: 1}
			if err := w.store.Ping(ctx); err != nil {
				h.Database = "unavailable"
			}
			return h
		},
		Hints: func(context.Context) []Hint {
			return []Hint{{Code: "demo_only", Text: "Desktops are the built-in demo.", Command: "apt install tigervnc-standalone-server"}}
		},
	}
	for _, c := range change {
		c(&w.options)
	}
}

func (w *world) createSession(ctx context.Context, s *store.Session, key string) (*store.Session, error) {
	if s.Runtime == "none" {
		return nil, store.Errorf(store.NoAgent, "no agent has the runtime none")
	}
	row := *s
	row.ID, row.State, row.Desired = newID(), store.Pending, store.Running
	row.CreatedAt = time.Now()
	row.UpdatedAt, row.LastActivity = row.CreatedAt, row.CreatedAt
	if s.MaxDuration > 0 {
		row.ExpiresAt = row.CreatedAt.Add(s.MaxDuration)
	}
	stored, _, err := w.store.CreateSession(ctx, &row, key)
	if err == nil {
		w.coord.Publish(ctx, store.Event{Type: "session", ID: stored.ID, State: string(stored.State), Org: stored.Org, Owner: stored.Owner})
	}
	return stored, err
}

func (w *world) stopSession(ctx context.Context, id string) (*store.Session, error) {
	return w.store.UpdateSession(ctx, id, func(s *store.Session) error {
		if s.Ended() {
			return store.ErrUnchanged
		}
		s.State, s.Desired = store.Terminated, store.Terminated
		return nil
	})
}

func (w *world) setNode(id, status string, drained bool) (Node, error) {
	if id != w.node.ID {
		return Node{}, store.Errorf(store.NotFound, "there is no edge %q", id)
	}
	w.node.Status, w.node.Drained = status, drained
	return w.node, nil
}

func (w *world) setDraining(ctx context.Context, id string, draining bool) error {
	_, err := w.store.UpdateAgent(ctx, id, func(a *store.Agent) error { a.Draining = draining; return nil })
	return err
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (w *world) addKey(name, org, owner string, role store.Role) (secret, id string) {
	w.t.Helper()
	secret, key, err := auth.NewKey(name, org, owner, role)
	if err == nil {
		err = w.store.CreateKey(context.Background(), key)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return secret, key.ID
}

func (w *world) addAgent() string {
	w.t.Helper()
	a, err := w.store.EnrolAgent(context.Background(), &store.Agent{
		ID: newID(), Name: "host", KeyHash: auth.HashSecret("x"), Capacity: 4, Weight: 1,
		Runtimes: []store.Runtime{{Name: "desktop"}, {Name: "gpu", Type: "process", Slots: 1}}, LastHeartbeat: time.Now(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return a.ID
}

// addSession is a session of alice's.
func (w *world) addSession() string {
	w.t.Helper()
	s, err := w.createSession(context.Background(), &store.Session{Org: "a", Owner: "alice", Name: "hers"}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return s.ID
}

// answer is what came back.
type answer struct {
	t       testing.TB
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    []byte
}

func (a answer) json(into any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		a.t.Fatalf("%v in %s", err, a.body)
	}
}

func (a answer) problem() Problem {
	a.t.Helper()
	var p Problem
	a.json(&p)
	return p
}

// call makes a request as the caller, and holds request and answer against
// openapi.yaml.
func (w *world) call(caller, method, path, body string, header ...string) answer {
	w.t.Helper()
	if secret := w.secrets[caller]; secret != "" {
		header = append(header, "Authorization", "Bearer "+secret)
	}
	return w.send(method, path, body, header...)
}

// send makes a request with exactly these headers.
func (w *world) send(method, path, body string, header ...string) answer {
	w.t.Helper()
	request, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	a := answer{t: w.t, status: response.StatusCode, header: response.Header, cookies: response.Cookies()}
	if a.body, err = io.ReadAll(response.Body); err != nil {
		w.t.Fatal(err)
	}
	plain := a
	plain.body = decoded(w.t, a.header.Get("Content-Encoding"), a.body)
	holdAgainstDescription(w.t, request, body, plain)
	if response.Header.Get(requestIDHeader) == "" {
		w.t.Errorf("%s %s: no %s", method, path, requestIDHeader)
	}
	return a
}

func (w *world) want(status int, a answer) answer {
	w.t.Helper()
	if a.status != status {
		w.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// logIn returns the headers of a browser that is logged in as the caller.
func (w *world) logIn(caller string) (cookie string) {
	w.t.Helper()
	a := w.want(http.StatusNoContent, w.send("POST", "/api/v1/login", `{"key":"`+w.secrets[caller]+`"}`, "Origin", w.url))
	if len(a.cookies) != 1 {
		w.t.Fatalf("%d cookies, want 1", len(a.cookies))
	}
	return a.cookies[0].Name + "=" + a.cookies[0].Value
}
