package proxy

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// virtual is a stream between pipes, in virtual time.
type virtual struct {
	*Proxy
	t      *testing.T
	began  time.Time
	viewer *rawViewer
	server net.Conn
	logs   *observer.ObservedLogs
}

func startVirtual(t *testing.T, dial func(ctx context.Context) error) *virtual {
	core, logs := observer.New(zapcore.DebugLevel)
	viewer, edgeViewer := net.Pipe()
	server, edgeServer := net.Pipe()
	v := &virtual{t: t, began: time.Now(), viewer: &rawViewer{Conn: viewer, t: t}, server: server, logs: logs}
	v.Proxy = New(Options{Log: zap.New(core), Dial: func(ctx context.Context, _ Grant, _ string) (net.Conn, error) {
		if dial != nil {
			return nil, dial(ctx)
		}
		return edgeServer, nil
	}})
	if refusal := v.admit(visit{asked: time.Now()}, edgeViewer, []byte("101"), nil); refusal != nil {
		t.Fatal(refusal)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(viewer, b); err != nil {
		t.Fatal(err)
	}
	return v
}

// frames reads the edge's frames and gives them to take, to the end.
func (v *virtual) frames(take func(op opcode, payload []byte)) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(v.viewer, head[:]); err != nil {
			return
		}
		payload := make([]byte, head[1])
		if _, err := io.ReadFull(v.viewer, payload); err != nil {
			return
		}
		take(opcode(head[0]&opcodeBits), payload)
	}
}

// end closes what is left and returns why and when the stream ended.
func (v *virtual) end() (reason string, after time.Duration) {
	v.t.Helper()
	_ = v.Close(context.Background())
	v.viewer.Close()
	v.server.Close()
	synctest.Wait()
	lines := v.logs.FilterMessage("stream ended").All()
	if len(lines) != 1 {
		v.t.Fatalf("%d ends", len(lines))
	}
	return lines[0].ContextMap()["reason"].(string), lines[0].ContextMap()["duration"].(time.Duration)
}

func (v *virtual) greet(op opcode, payload []byte) {
	if op == opBinary && string(payload) == greeting {
		_, _ = v.viewer.Write(clientFrame(true, opBinary, payload))
	}
}

func TestViewerThatAnswersPingsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVirtual(t, nil)
		go func() { _ = greetAsServer(v.server) }()
		pings := 0
		go v.frames(func(op opcode, payload []byte) {
			v.greet(op, payload)
			if op == opPing {
				pings++
				_, _ = v.viewer.Write(clientFrame(true, opPong, payload))
			}
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		if v.Active() != 1 || pings < 60 {
			t.Errorf("%d streams after an hour, %d pings", v.Active(), pings)
		}
		if reason, _ := v.end(); reason != string(NodeDraining) {
			t.Error(reason)
		}
	})
}

func TestViewerThatAnswersNoPingsIsLostInAboutAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVirtual(t, nil)
		go func() { _ = greetAsServer(v.server) }()
		go v.frames(v.greet)
		time.Sleep(time.Hour)
		if reason, after := v.end(); reason != string(ViewerLost) || after < 60*time.Second || after > 100*time.Second {
			t.Errorf("%s after %v", reason, after)
		}
	})
}

func TestViewerThatReadsNothingIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVirtual(t, nil)
		go func() {
			if greetAsServer(v.server) == nil {
				_, _ = io.Copy(v.server, randomBytes(1, 1<<40))
			}
		}()
		b := make([]byte, 2+greetingSize)
		if _, err := io.ReadFull(v.viewer, b); err != nil {
			t.Fatal(err)
		}
		v.greet(opBinary, b[2:])
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if v.Active() != 1 {
			t.Errorf("it was thrown out: %v", v.logs.All())
		}
		begin := time.Now()
		if reason, _ := v.end(); reason != string(NodeDraining) || time.Since(begin) > 15*time.Second {
			t.Errorf("%s, gone after %v", reason, time.Since(begin))
		}
	})
}

func TestWaitsOfTheHandshakeHaveAnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		dial   func(context.Context) error
		serve  func(net.Conn)
		reason Reason
		after  time.Duration
	}{
		"the dial": {
			dial:   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			reason: VNCSilent, after: 10 * time.Second,
		},
		"the server's greeting": {reason: VNCSilent, after: 10 * time.Second},
		"the viewer's greeting": {serve: func(c net.Conn) { _, _ = io.WriteString(c, greeting) }, reason: ViewerNotVNC, after: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := startVirtual(t, test.dial)
				var closedAfter time.Duration
				go v.frames(func(op opcode, payload []byte) {
					if op == opClose {
						closedAfter = time.Since(v.began)
						_, _ = v.viewer.Write(clientFrame(true, opClose, payload[:2]))
					}
				})
				if test.serve != nil {
					go test.serve(v.server)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if reason, _ := v.end(); reason != string(test.reason) || closedAfter != test.after {
					t.Errorf("%s after %v", reason, closedAfter)
				}
			})
		})
	}
}
