package auth

import (
	"maps"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

const (
	keyLife = 5 * time.Second // how long a deletion at another edge may go unnoticed
	maxKeys = 10_000
)

// keyCache holds keys by the hash of their secret and by their id.
type keyCache struct {
	mu         sync.Mutex
	entries    map[string]cachedKey
	generation uint64 // of forget; what was loaded before one is not kept after it
}

type cachedKey struct {
	key   *store.Key // shared, never changed
	until time.Time
}

func newKeyCache() *keyCache { return &keyCache{entries: map[string]cachedKey{}} }

// get returns nil when the key must be loaded, and what put wants to hear then.
func (c *keyCache) get(index string) (key *store.Key, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[index]; ok && time.Now().Before(e.until) {
		return e.key, c.generation
	}
	return nil, c.generation
}

// known tells whether the key was good when it was last loaded, however long
// ago that is.
func (c *keyCache) known(index string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.entries[index]
	return ok
}

func (c *keyCache) put(index string, key *store.Key, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if len(c.entries) >= maxKeys {
		clear(c.entries)
	}
	c.entries[index] = cachedKey{key, time.Now().Add(keyLife)}
}

func (c *keyCache) drop(index string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, index)
}

func (c *keyCache) forget(keyID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	maps.DeleteFunc(c.entries, func(_ string, e cachedKey) bool { return e.key.ID == keyID })
}
