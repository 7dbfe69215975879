package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// mostAtOnce is how many events go to Redis in one write.
const mostAtOnce = 100

// Publish hands the event to this edge's subscribers before it returns, and
// queues it for those of others. What the queue has no room for they get as a
// "resync".
func (c *Coord) Publish(ctx context.Context, e store.Event) {
	c.local.Publish(ctx, e)
	c.outbox.Publish(ctx, e)
}

// send publishes what is queued, in order, and a beat when there is nothing,
// until the queue is closed.
func (c *Coord) send(queue <-chan store.Event) {
	beat := time.NewTicker(c.o.BeatEvery)
	defer beat.Stop()
	var (
		last   uint64 // number that was used
		missed bool   // something did not get out
		batch  []store.Event
	)
	for open := true; open; {
		batch = batch[:0]
		select {
		case e, ok := <-queue:
			if !ok {
				return
			}
			batch = append(batch, e)
		case <-beat.C:
		}
		if missed {
			batch = append([]store.Event{resync}, batch...)
		}
		batch, open = more(batch, queue)
		missed = c.sendBatch(&last, batch) != nil && len(batch) > 0
	}
}

// more adds what waits already; open is false when the queue was closed.
func more(batch []store.Event, queue <-chan store.Event) (all []store.Event, open bool) {
	for len(batch) < mostAtOnce {
		select {
		case e, ok := <-queue:
			if !ok {
				return batch, false
			}
			batch = append(batch, e)
		default:
			return batch, true
		}
	}
	return batch, true
}

func (c *Coord) sendBatch(last *uint64, batch []store.Event) error {
	return c.ask(context.Background(), "publish", func(ctx context.Context) error {
		if len(batch) == 0 {
			return c.publishTo(ctx, c.client, encodeMessage(c.id, *last, nil)).Err()
		}
		_, err := c.client.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
			for i := range batch {
				*last++
				c.publishTo(ctx, pipe, encodeMessage(c.id, *last, &batch[i]))
			}
			return nil
		})
		return err
	})
}

func (c *Coord) publishTo(ctx context.Context, to goredis.Cmdable, text []byte) *goredis.IntCmd {
	if c.sharded.Load() {
		return to.SPublish(ctx, c.channel(), text)
	}
	return to.Publish(ctx, c.channel(), text)
}

// channel is one for all events: their order is kept by it.
func (c *Coord) channel() string { return c.o.KeyPrefix + "events" }
