package hop

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func off(by time.Duration) func(*Options) {
	return func(o *Options) { o.Now = func() time.Time { return time.Now().Add(by) } }
}

// TestAHopThatClocksForbidSaysWhoIsAhead, to whom it refuses and once in its log.
func TestAHopThatClocksForbidSaysWhoIsAhead(t *testing.T) {
	to := startHome(t, false, vncServer(t, true, greetAndEcho))
	for words, by := range map[string]time.Duration{"ahead of that": time.Hour, "behind that": -time.Hour} {
		core, logs := observer.New(zapcore.WarnLevel)
		wrong := by
		from := startViewerEdge(t, func(o *Options) {
			o.Log = zap.New(core)
			o.Now = func() time.Time { return time.Now().Add(wrong) }
		})
		for range 2 {
			_, err := from.Dial(deadlined(t), to.peer, "agent", request)
			var said *tunnel.Error
			if !errors.As(err, &said) || said.Code != tunnel.CodeUnauthorized || !strings.Contains(said.Text, words+` of edge "home"`) || !strings.Contains(said.Text, `the clock of edge "viewers"`) {
				t.Errorf("%v off: %v", by, err)
			}
		}
		if logs.Len() != 1 || logs.FilterField(zap.String("edge", "home")).Len() != 1 {
			t.Errorf("%v off: logged %v", by, logs.All())
		}
		wrong = 0
		wantBytes(t, mustDial(t, from, to), "RFB 003.008\n")
	}
}

// TestHopsHaveTheClockThatAllShare, however wrong both hosts' are.
func TestHopsHaveTheClockThatAllShare(t *testing.T) {
	to := startHome(t, false, vncServer(t, true, greetAndEcho), off(time.Hour))
	wantBytes(t, mustDial(t, startViewerEdge(t, off(time.Hour)), to), "RFB 003.008\n")
}
