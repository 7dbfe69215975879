package e2e

import (
	"fmt"
	"net/http"
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
			if told := in.notNow(id); told.Code != strings.Replace(limit, "max_streams_per_", "", 1)+"_limit_reached" || told.RetryAfter != in.retryAfter(ticket) {
				t.Errorf("the ticket tells pages %+v of the limit, the refusal says Retry-After %d", told, in.retryAfter(ticket))
			}
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

type notNow struct {
	Code       string `json:"code"`
	RetryAfter int    `json:"retry_after"`
}

// notNow is what a fresh ticket tells of why it opens nothing yet.
func (in *installation) notNow(id string) notNow {
	in.t.Helper()
	var answer struct {
		NotNow notNow `json:"not_now"`
	}
	in.call("POST", "/api/v1/sessions/"+id+"/vnc", nil, http.StatusOK, &answer)
	return answer.NotNow
}

// retryAfter is that header of the refusal of a viewer.
func (in *installation) retryAfter(ticket string) (seconds int) {
	in.t.Helper()
	request, err := http.NewRequest("GET", in.URL+"/ws/vnc", nil)
	if err != nil {
		in.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
		"Sec-WebSocket-Protocol": "binary, " + ticket,
	} {
		request.Header.Set(name, value)
	}
	response, err := client().Do(request)
	if err != nil {
		in.t.Fatal(err)
	}
	_ = response.Body.Close()
	if _, err := fmt.Sscan(response.Header.Get("Retry-After"), &seconds); err != nil {
		in.t.Fatalf("status %s, Retry-After: %v", response.Status, err)
	}
	return seconds
}
