package agent

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/zap"
)

// TestAnEndThatIsAskedForAgainLeavesNothing: two edges may ask, the second while
// the folder is removed, which its mark must not keep.
func TestAnEndThatIsAskedForAgainLeavesNothing(t *testing.T) {
	data := t.TempDir()
	for range 300 {
		s := &session{dir: filepath.Join(data, "session"), log: zap.NewNop(), admitted: make(chan struct{})}
		s.asked, s.ask = context.WithCancelCause(t.Context())
		close(s.admitted)
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{recordFile, "log", "a", "b", "c"} {
			if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.endAsAsked(errStopped)
		var asking sync.WaitGroup
		asking.Go(func() {
			for range 20 {
				s.endAsAsked(errStopped)
			}
		})
		if err := s.remove(); err != nil {
			t.Fatal(err)
		}
		asking.Wait()
		if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
			t.Fatal("the folder is there again", err)
		}
	}
}
