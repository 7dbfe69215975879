package storetest

import (
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func clockBehaviours() []behaviour {
	return []behaviour{{"a store of this host has its clock", func(t *testing.T, s store.Store) {
		if got := s.ClockAhead(); got != 0 {
			t.Errorf("its clock is %v ahead", got)
		}
	}}}
}
