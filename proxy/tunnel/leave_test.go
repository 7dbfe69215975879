package tunnel

import (
	"io"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// TestASpareOfAnEndedTunnelGivesUpInSilence even before the tunnel's other
// goroutines have noticed its end.
func TestASpareOfAnEndedTunnelGivesUpInSilence(t *testing.T) {
	edge := newEdge(t)
	warned := make(chan string, 1)
	o := agentOptions(edge)
	o.Log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zapcore.WarnLevel),
		zap.Hooks(func(e zapcore.Entry) error {
			select {
			case warned <- e.Message:
			default:
			}
			return nil
		}))
	dial, err := newDialer(Home{URL: edge.url}, o, dialTCP)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := dial.control(deadlined(t), o.Hello().AgentID)
	if err != nil {
		t.Fatal(err)
	}
	channel := newChannel(ws)
	client := NewClient(o)
	reports, _ := client.outbox.open()
	l := newLink(client, dial, channel, o.Hello().AgentID, Welcome{StreamToken: "stale", Spares: 1}, reports)
	channel.refuse(errLeft)

	l.dialing++
	gaveUp := make(chan struct{})
	go func() {
		defer close(gaveUp)
		l.spare()
	}()
	select {
	case <-gaveUp:
	case words := <-warned:
		t.Fatalf("it warns: %s", words)
	case <-time.After(hang):
		t.Fatal("it still tries")
	}
	if len(warned) > 0 {
		t.Errorf("it warned: %s", <-warned)
	}
}
