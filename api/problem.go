package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// Codes that only HTTP knows.
const (
	wrongMethod  store.Code = "method_not_allowed"
	notWebSocket store.Code = "upgrade_required"
)

// answerOf is the one table from an error's code to what a client is told.
// retryAfter is in seconds; 0: not told.
func answerOf(code store.Code) (status, retryAfter int) {
	switch code {
	case store.Invalid:
		return http.StatusBadRequest, 0
	case store.Unauthorized:
		return http.StatusUnauthorized, 0
	case store.Forbidden:
		return http.StatusForbidden, 0
	case store.NotFound:
		return http.StatusNotFound, 0
	case wrongMethod:
		return http.StatusMethodNotAllowed, 0
	case store.Conflict:
		return http.StatusConflict, 0
	case notWebSocket:
		return http.StatusUpgradeRequired, 0
	case store.Limit:
		return http.StatusTooManyRequests, 3
	case store.RateLimited:
		return http.StatusTooManyRequests, 0 // the limit has told
	case store.NoAgent:
		return http.StatusServiceUnavailable, 10
	case store.Unavailable:
		return http.StatusServiceUnavailable, 5
	default:
		return http.StatusInternalServerError, 0
	}
}

// ProblemType is the content type of a Problem.
const ProblemType = "application/problem+json"

// Problem is an error's answer (RFC 9457). The type is always "about:blank":
// the code tells errors of one status apart. Made by NewProblem.
type Problem struct {
	Type      string     `json:"type"`
	Title     string     `json:"title"`
	Status    int        `json:"status"`
	Detail    string     `json:"detail"`
	Code      store.Code `json:"code"`
	RequestID string     `json:"request_id"`
}

// NewProblem is what a client is told with an HTTP status. The caller sends the
// request's id as X-Request-Id, too.
func NewProblem(status int, code store.Code, detail, requestID string) Problem {
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code, RequestID: requestID}
}

// fail answers with err. The text of an error that is not meant for people
// goes to the log only.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := store.CodeOf(err)
	recorderOf(w).code = code
	status, retryAfter := answerOf(code)
	p := NewProblem(status, code, "something went wrong in this server; its log says what, under the request id", w.Header().Get(requestIDHeader))
	var known *store.Error
	if errors.As(err, &known) {
		p.Detail = known.Text
	}
	if status >= http.StatusInternalServerError && code != store.NoAgent {
		s.o.Log.Error("request failed", zap.String("request_id", p.RequestID), zap.String("route", r.Pattern), zap.Error(err))
	}
	h := w.Header()
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="streamspace"`)
	}
	h.Set("Cache-Control", "no-store")
	s.write(w, ProblemType, status, p)
}

// recorderOf finds the request's recorder below what compresses its answer.
func recorderOf(w http.ResponseWriter) *recorder {
	for {
		switch under := w.(type) {
		case *recorder:
			return under
		case interface{ Unwrap() http.ResponseWriter }:
			w = under.Unwrap()
		default:
			return &recorder{} // of nobody
		}
	}
}

func (s *server) writeJSON(w http.ResponseWriter, status int, v any) error {
	s.write(w, "application/json", status, v)
	return nil
}

func (s *server) write(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.o.Log.Debug("an answer could not be written", zap.String("request_id", w.Header().Get(requestIDHeader)), zap.Error(err))
	}
}
