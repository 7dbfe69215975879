package store

import (
	"errors"
	"fmt"
)

// Code is a stable word for what went wrong; api turns it into an HTTP status
// and proxy's reasons into a WebSocket close code, each from one table.
type Code string

const (
	Invalid      Code = "invalid"      // the request is malformed; the text names the field
	Unauthorized Code = "unauthorized" // no valid credentials
	Forbidden    Code = "forbidden"    // valid credentials that do not allow this
	NotFound     Code = "not_found"
	Conflict     Code = "conflict"     // the thing is not in a state that allows this
	NoAgent      Code = "no_agent"     // no agent has room for this session
	Limit        Code = "limit"        // a quota or rate is used up
	RateLimited  Code = "rate_limited" // a configured rate is used up
	Unavailable  Code = "unavailable"  // a part that is needed does not answer; try again
	Internal     Code = "internal"
)

// Error is the one error type that crosses rooms. Text is for the person who
// made the request: what failed, with which value, and what to change. Cause is
// for the log and may be nil.
type Error struct {
	Code  Code
	Text  string
	Cause error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Text + ": " + e.Cause.Error()
	}
	return e.Text
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of the first Error in err's chain, Internal for any other
// error, and "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	default:
		return Internal
	}
}

// ErrDiskFull is in the chain of Ping's error while the store's disk takes no write.
var ErrDiskFull = errors.New("no room is left")

// ErrUnchanged is what a change function returns to leave the row as it is.
var ErrUnchanged = errors.New("unchanged")
