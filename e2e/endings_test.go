package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestSessionsThatEndByThemselvesSaySoBefore: the end is announced, then the
// viewer's stream is closed with its reason.
func TestSessionsThatEndByThemselvesSaySoBefore(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	for _, c := range []struct {
		limit string
		code  websocket.StatusCode
		word  string
	}{
		{"idle_timeout", 4412, "idle"}, {"max_duration", 4413, "max_duration"},
	} {
		t.Run(c.limit, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d := in.running(map[string]any{c.limit: "8s"})
			conn, err := in.view(ctx, in.ticket(d.ID, "view"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, _, err := rfbHello(conn); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end is announced", func() error {
				var told struct {
					EndsAt      string `json:"ends_at"`
					EndsBecause string `json:"ends_because"`
				}
				in.call("GET", "/api/v1/sessions/"+d.ID, nil, http.StatusOK, &told)
				if told.EndsAt == "" || told.EndsBecause != c.limit {
					return fmt.Errorf("it says %+v", told)
				}
				return nil
			})
			_, err = io.Copy(io.Discard, conn)
			if code, reason := closeOf(err); code != c.code || !strings.HasPrefix(reason, c.word+":") {
				t.Errorf("close %d %q, want %d %s", code, reason, c.code, c.word)
			}
			if ended := in.becomes(d.ID, "terminated"); !strings.HasPrefix(ended.Reason, c.word+":") {
				t.Errorf("the session's reason is %q, want one of %s", ended.Reason, c.word)
			}
		})
	}
}
