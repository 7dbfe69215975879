package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/redis"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
	"github.com/streamspace-dev/streamspace-edge/store/storetest"
)

// A reload of a Cluster's map goes on when its client is closed, until its
// commands have failed and 200 ms have passed; go-redis has no way to wait for it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*clusterStateHolder).LazyReload.func1"))
}

// options are those of an edge that waits long, so that a busy machine is not
// taken for a Redis that is away.
func options(t *testing.T, addrs ...string) redis.Options {
	return redis.Options{
		Addrs: addrs, KeyPrefix: uuid.NewString() + ":", Timeout: 10 * time.Second, BeatEvery: 10 * time.Second,
		Log: zaptest.NewLogger(t), Metrics: redis.NewMetrics(prometheus.NewRegistry()),
	}
}

// hasty is an edge that gives up soon, for tests in which Redis goes away.
func hasty(o redis.Options) redis.Options {
	o.Timeout, o.BeatEvery = 500*time.Millisecond, 100*time.Millisecond
	return o
}

func open(t *testing.T, o redis.Options) *redis.Coord {
	t.Helper()
	o.Metrics = redis.NewMetrics(prometheus.NewRegistry())
	c := redis.Open(context.Background(), o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestRedisIsACoord(t *testing.T) {
	s := redistest.Start(t)
	storetest.TestCoord(t, func(t *testing.T) store.Coord { return open(t, options(t, s.Addr)) })
}

func TestRedisWithSentinelsIsACoord(t *testing.T) {
	all := redistest.StartSentinels(t)
	storetest.TestCoord(t, func(t *testing.T) store.Coord {
		o := options(t, all.Addrs...)
		o.SentinelMaster = redistest.MasterName
		return open(t, o)
	})
}

func TestRedisClusterIsACoord(t *testing.T) {
	all := redistest.StartCluster(t, 3, 3)
	storetest.TestCoord(t, func(t *testing.T) store.Coord { return open(t, options(t, all.Addrs...)) })
}
