package tunnel

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
)

const maxSecret = 512 // bytes of a token or key

// credentials are what a control connection's request carries.
type credentials struct {
	agentID, token, key string
}

// controlCredentials checks and copies them: r's strings are fasthttp's memory,
// which serves another request after the upgrade.
func controlCredentials(r *http.Request) (credentials, *Error) {
	if !hasToken(r.Header.Values("Connection"), "upgrade") || !hasToken(r.Header.Values("Upgrade"), "websocket") {
		return credentials{}, Errorf(CodeBadRequest, "%s is for agents: it wants a WebSocket with subprotocol %s", ConnectPath, ControlProtocol)
	}
	if !hasToken(r.Header.Values("Sec-WebSocket-Protocol"), ControlProtocol) {
		return credentials{}, Errorf(CodeBadRequest, "this edge speaks %s only; run the same version of streamspace on edge and agent", ControlProtocol)
	}
	c := credentials{
		agentID: strings.Clone(r.Header.Get(HeaderAgentID)),
		key:     strings.Clone(r.Header.Get(HeaderAgentKey)),
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") {
		c.token = strings.Clone(strings.TrimSpace(token))
	}
	switch {
	case !isUUID(c.agentID):
		return credentials{}, Errorf(CodeBadRequest, "header %s is not a UUID", HeaderAgentID)
	case c.token == "" || len(c.token) > maxSecret:
		return credentials{}, Errorf(CodeUnauthorized, "a join token is needed: Authorization: Bearer TOKEN")
	case c.key == "" || len(c.key) > maxSecret:
		return credentials{}, Errorf(CodeUnauthorized, "the agent's key is needed in header %s", HeaderAgentKey)
	}
	return c, nil
}

func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// hasToken looks for a token in a comma-separated header, in any case.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(one), token) {
				return true
			}
		}
	}
	return false
}

// check holds a hello against the request that it came with.
func (h *Hello) check(agentID string) error {
	switch {
	case h.AgentID != agentID:
		return Errorf(CodeBadRequest, "the hello is of agent %q, the connection of %q", h.AgentID, agentID)
	case h.Capacity < 1:
		return Errorf(CodeBadRequest, "capacity is %d, want at least 1", h.Capacity)
	case h.Weight < 1:
		return Errorf(CodeBadRequest, "weight is %d, want at least 1", h.Weight)
	}
	return nil
}

// The body of a refusal before the upgrade is the JSON of an Error.
func refuseHTTP(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Code.httpStatus())
	_ = json.NewEncoder(w).Encode(e) // a client that has gone needs no answer
}

func refuseStream(ctx *fasthttp.RequestCtx, e *Error) {
	body, err := json.Marshal(e)
	if err != nil {
		ctx.Error(e.Text, e.Code.httpStatus())
		return
	}
	ctx.SetStatusCode(e.Code.httpStatus())
	ctx.SetContentType("application/json")
	ctx.SetBody(body)
}

// upgradeWriter sends the 101 that fasthttpadaptor leaves out: hijacking
// through it makes fasthttp send no response at all.
type upgradeWriter struct {
	http.ResponseWriter
	status int
}

func (w *upgradeWriter) WriteHeader(status int) {
	w.status = status
	if status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil || w.status != http.StatusSwitchingProtocols {
		return conn, buffered, err
	}
	answer := http.Response{StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.Header()}
	if err = answer.Write(buffered); err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		_ = conn.Close()
	}
	return conn, buffered, err
}
