// Package redis is the Coord that edges share over Redis 7 or newer: one server,
// one with Sentinel, or a Cluster.
//
// Redis may lose anything at any time: each beat writes again what has to be
// there, an edge remembers what it knew for as long as it would have held, and
// what can't be asked is answered at once with store.Unavailable, or from this
// edge alone.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Options say where Redis is. Addrs, Log and Metrics are needed.
type Options struct {
	Addrs          []string // one server, some of a Cluster, or the Sentinels
	SentinelMaster string   // the name of the master that the Sentinels watch; empty: there are none
	Cluster        bool     // also when Addrs has one only

	Username         string
	Password         func() (string, error) // asked for each new connection; nil: none
	SentinelUsername string
	SentinelPassword string
	TLS              *tls.Config // nil: plain TCP
	DB               int
	KeyPrefix        string // of every key and channel; edges of one installation have the same

	Timeout   time.Duration // of one request with all its attempts; 0: 500 ms
	BeatEvery time.Duration // how often a lost event is looked for; 0: 1 s

	Log     *zap.Logger
	Metrics *Metrics
}

// Coord is a store.Coord. Use Open.
type Coord struct {
	o      Options
	client goredis.UniversalClient
	local  *store.Local // this edge's subscribers, tickets, and buckets while Redis is away
	seen   seen

	id      string       // of this Coord among the publishers
	outbox  *store.Local // what is to be published
	sharded atomic.Bool  // events go by SPUBLISH

	away atomic.Bool   // requests fail at once
	lost chan struct{} // wakes the one who waits for Redis to come back

	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	sent    chan struct{} // closed when nothing more will be published
}

var _ store.Coord = (*Coord)(nil)

// Open returns a Coord whether Redis answers or not: it waits for that at most
// two timeouts long. The caller closes it.
func Open(ctx context.Context, o Options) *Coord {
	if o.Timeout == 0 {
		o.Timeout = 500 * time.Millisecond
	}
	if o.BeatEvery == 0 {
		o.BeatEvery = time.Second
	}
	logging.Disable() // it is one for the whole process; what the library has to say comes back as errors
	running, stop := context.WithCancel(context.Background())
	c := &Coord{
		o: o, client: goredis.NewUniversalClient(clientOptions(o)), local: store.NewLocal(), seen: newSeen(),
		id: rand.Text(), outbox: store.NewLocal(), lost: make(chan struct{}, 1), stop: stop, sent: make(chan struct{}),
	}
	c.o.Metrics.connected.Set(1)
	if err := c.probe(ctx); err != nil {
		c.lose(err)
	}
	subscription, err := c.subscribe(ctx)
	if err != nil {
		c.lose(err)
	}
	outgoing := c.outbox.Subscribe(context.Background())
	c.running.Go(func() { c.stayConnected(running) })
	c.running.Go(func() { c.receive(running, subscription) })
	c.running.Go(func() {
		defer close(c.sent)
		c.send(outgoing)
	})
	return c
}

func clientOptions(o Options) *goredis.UniversalOptions {
	options := &goredis.UniversalOptions{
		Addrs: o.Addrs, MasterName: o.SentinelMaster, IsClusterMode: o.Cluster,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		DB: o.DB, TLSConfig: o.TLS, Protocol: 2, DisableIdentity: true,

		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, PoolTimeout: o.Timeout,
		ContextTimeoutEnabled: true, DialerRetries: 1,
		MaxRetries: 2, MinRetryBackoff: o.Timeout / 50, MaxRetryBackoff: o.Timeout / 10,

		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.Password != nil {
		options.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := o.Password()
			return o.Username, password, err
		}
	}
	return options
}

// Ping asks Redis for a write, whatever is known of it.
func (c *Coord) Ping(ctx context.Context) error {
	if err := c.probe(ctx); err != nil {
		c.lose(err)
		return unavailable(err)
	}
	return nil
}

// Close publishes what is queued, for one timeout at most, and waits for all
// that the Coord runs. Closing again does nothing.
func (c *Coord) Close() error {
	var err error
	c.closing.Do(func() {
		err = errors.Join(c.outbox.Close(), c.local.Close())
		select {
		case <-c.sent:
		case <-time.After(c.o.Timeout):
		}
		c.stop()
		err = errors.Join(err, c.client.Close())
		c.running.Wait()
	})
	return err
}

var errAway = errors.New("it was lost a moment ago")

func unavailable(cause error) *store.Error {
	return &store.Error{Code: store.Unavailable, Text: "Redis, by which the edges know of each other, does not answer; try again", Cause: cause}
}

// ask bounds one request and counts it. Whatever Redis can't do is Unavailable,
// and then others do not wait for the same.
func (c *Coord) ask(ctx context.Context, what string, request func(context.Context) error) error {
	if c.away.Load() {
		c.o.Metrics.errors.WithLabelValues(what).Inc()
		return unavailable(errAway)
	}
	begin := time.Now()
	bounded, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	err := request(bounded)
	c.o.Metrics.duration.WithLabelValues(what).Observe(time.Since(begin).Seconds())
	if err == nil {
		return nil
	}
	c.o.Metrics.errors.WithLabelValues(what).Inc()
	if ctx.Err() == nil && !errors.Is(err, goredis.ErrClosed) {
		c.lose(err)
	}
	return unavailable(err)
}

// key is the name of a thing in Redis.
func (c *Coord) key(kind, name string) string { return c.o.KeyPrefix + kind + ":" + name }
