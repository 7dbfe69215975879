package e2e

import (
	"strings"
	"testing"
)

// TestTicketStaysGoodWhileThereIsNoRoom: who is told to try again later can, with
// the ticket that was refused.
func TestTicketStaysGoodWhileThereIsNoRoom(t *testing.T) {
	for _, limit := range []string{"max_streams_per_session", "max_streams_per_user"} {
		t.Run(limit, func(t *testing.T) {
			server := startRandomServer(t, 1<<20)
			in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "vnc: {"+limit+": 1}\ndirect: {allow: [\"127.0.0.0/8:1-65535\"]}")
			id := in.running(map[string]any{"endpoint": server.Addr().String()}).ID
			ctx := testContext(t)
			first := in.mustView(ctx, id)
			ticket := in.ticket(id, "control")
			for range 2 {
				if _, err := in.view(ctx, ticket); err == nil || !strings.Contains(err.Error(), "status 429") {
					t.Fatalf("a viewer too many: %v, want status 429", err)
				}
			}
			_ = first.Close()
			eventually(t, "the refused ticket opens a stream", func() error {
				conn, err := in.view(ctx, ticket)
				if err == nil {
					_ = conn.Close()
				}
				return err
			})
		})
	}
}
