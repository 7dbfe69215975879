package redis_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/redis"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

// BenchmarkCoord is over one server on this machine; a PING is the least that
// any request costs.
func BenchmarkCoord(b *testing.B) {
	server := redistest.Start(b)
	c := redis.Open(context.Background(), redis.Options{
		Addrs: []string{server.Addr}, Timeout: 10 * time.Second, Log: zap.NewNop(), Metrics: redis.NewMetrics(prometheus.NewRegistry()),
	})
	defer func() { _ = c.Close() }()
	ctx, ping := context.Background(), server.Client()
	one := store.Lease{Kind: "home", Generation: 1, Value: make([]byte, 200)}
	for i := range 1000 {
		one.ID = fmt.Sprint(i)
		if err := c.Hold(ctx, one, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	for _, request := range []struct {
		name string
		make func() error
	}{
		{"ping", func() error { return ping.Ping(ctx).Err() }},
		{"hold", func() error { return c.Hold(ctx, one, time.Hour) }},
		{"list1000", func() error { _, err := c.Leases(ctx, "home"); return err }},
		{"take", func() error { _, err := c.Take(ctx, "b", store.Rate{Count: 1, Per: time.Second, Burst: 9}); return err }},
	} {
		b.Run(request.name, func(b *testing.B) {
			for b.Loop() {
				if err := request.make(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
