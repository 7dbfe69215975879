package tunnel

import "fmt"

// Code is a stable word for why a tunnel operation failed.
type Code string

const (
	CodeBadRequest     Code = "bad_request"     // the peer does not speak this protocol
	CodeUnauthorized   Code = "unauthorized"    // wrong join token or stream token
	CodeAgentIDTaken   Code = "agent_id_taken"  // the id belongs to another host
	CodeSuperseded     Code = "superseded"      // the same agent has connected anew
	CodeAgentOffline   Code = "agent_offline"   // no tunnel to this agent
	CodeAgentBusy      Code = "agent_busy"      // no stream connection came in time
	CodeAgentRemoved   Code = "agent_removed"   // an operator deleted the agent
	CodeNoSession      Code = "no_session"      // the agent does not run this session
	CodeSessionStarts  Code = "session_starts"  // its VNC server does not answer yet
	CodeVNCRefused     Code = "vnc_refused"     // its VNC server refused the connection
	CodeNoRuntime      Code = "no_runtime"      // the agent has no runtime of that name
	CodeNoRoom         Code = "no_room"         // capacity or slots are used up
	CodeRuntimeMissing Code = "runtime_missing" // the runtime's program is not installed
	CodeNodeDraining   Code = "node_draining"   // the edge is leaving
	CodeTimeout        Code = "timeout"
)

// Error is a coded failure that crosses the tunnel. Text is for a person.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}
