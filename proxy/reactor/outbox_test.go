package reactor

import "testing"

// TestAnOutboxHoldsNotMuchMoreThanWaits: also while it is never empty.
func TestAnOutboxHoldsNotMuchMoreThanWaits(t *testing.T) {
	o := newOutboxes().Get().(*outbox)
	o.add(make([]byte, 64<<10))
	for range 1 << 20 {
		o.add(make([]byte, 27))
		o.took(27)
	}
	if held := cap(o.data); held > 4*maxPending {
		t.Errorf("it holds %d bytes for %d that wait", held, len(o.waiting()))
	}
}
