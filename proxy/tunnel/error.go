package tunnel

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/coder/websocket"
)

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
	CodeVNCPassword    Code = "vnc_password"    // its VNC server refused the agent's password
	CodeNoRuntime      Code = "no_runtime"      // the agent has no runtime of that name
	CodeNoRoom         Code = "no_room"         // capacity or slots are used up
	CodeRuntimeMissing Code = "runtime_missing" // the runtime's program is not installed
	CodeNodeDraining   Code = "node_draining"   // the edge is leaving
	CodeNodeFull       Code = "node_full"       // the edge carries as many streams as it may
	CodeTimeout        Code = "timeout"         // no answer in time; what was asked for may be done or not
	CodeUnavailable    Code = "unavailable"     // failed for a reason of the other end's own; it may work later
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

// Undecided tells whether a command that got err may have been taken all the same,
// or may yet be: no answer of the agent came, or it could not tell.
func Undecided(err error) bool {
	switch codeOf(err) {
	case CodeAgentOffline, CodeTimeout:
		return true
	default:
		return false
	}
}

// codedError gives err the form that crosses the tunnel; nil stays nil.
func codedError(err error) *Error {
	var coded *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return coded
	default:
		return Errorf(CodeUnavailable, "%v", err)
	}
}

// A control channel is closed with status firstStatus plus the position of the
// reason's code in this list, so append only. RFC 6455 section 7.4.2 leaves
// 4000 to 4999 to private use.
const firstStatus = 4000

func codesByStatus() []Code {
	return []Code{
		CodeBadRequest, CodeUnauthorized, CodeAgentIDTaken, CodeSuperseded, CodeAgentOffline, CodeAgentBusy,
		CodeAgentRemoved, CodeNoSession, CodeSessionStarts, CodeVNCRefused, CodeNoRuntime, CodeNoRoom,
		CodeRuntimeMissing, CodeNodeDraining, CodeTimeout, CodeUnavailable,
		CodeVNCPassword,
	}
}

func (c Code) closeStatus() websocket.StatusCode {
	if i := slices.Index(codesByStatus(), c); i >= 0 {
		return firstStatus + websocket.StatusCode(i)
	}
	return websocket.StatusInternalError
}

// codeOfStatus returns "" for a status that carries no code.
func codeOfStatus(s websocket.StatusCode) Code {
	codes := codesByStatus()
	if i := int(s) - firstStatus; i >= 0 && i < len(codes) {
		return codes[i]
	}
	return ""
}

// httpStatus is how a code refuses a handshake before the upgrade.
func (c Code) httpStatus() int {
	switch c {
	case CodeBadRequest:
		return http.StatusBadRequest
	case CodeUnauthorized:
		return http.StatusUnauthorized
	default:
		return http.StatusServiceUnavailable
	}
}

// cut shortens s to at most limit bytes without splitting a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
