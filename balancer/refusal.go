package balancer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	"github.com/valyala/fasthttp"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// rateLimited is the code of a refusal by a rate limit.
const rateLimited = "rate_limited"

// refusal is an answer of the balancer's own.
type refusal struct {
	status int
	code   string // a stable word
	detail string // for a person
	cause  error  // for the log; nil: there is none
}

// placeRefusal is for an error of acquire.
func placeRefusal(err error) *refusal {
	switch {
	case errors.Is(err, errQueueFull), errors.Is(err, errQueueTime):
		return &refusal{status: fasthttp.StatusServiceUnavailable, code: "upstreams_full", detail: err.Error()}
	case errors.Is(err, errNoUpstream):
		return &refusal{status: fasthttp.StatusServiceUnavailable, code: "no_upstream", detail: err.Error()}
	default:
		return &refusal{status: fasthttp.StatusServiceUnavailable, code: "node_draining", detail: "this server is shutting down", cause: err}
	}
}

// answerRefusal is for an upstream that gave no answer.
func answerRefusal(f *failure) *refusal {
	if isTimeout(f.err) {
		return &refusal{fasthttp.StatusGatewayTimeout, "upstream_timeout", "the upstream did not answer in time", f.err}
	}
	return &refusal{fasthttp.StatusBadGateway, "upstream_failed", failedWords(f), f.err}
}

// failedWords tell a client what kind of failure it was, and nothing of the
// network behind the edge.
func failedWords(f *failure) string {
	var untrusted *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case errors.As(f.err, &untrusted):
		return "the upstream's certificate is not trusted"
	case errors.As(f.err, &alert), errors.As(f.err, &record):
		return "the upstream and this server can't agree on TLS"
	case f.untouched && !errors.Is(f.err, reactor.ErrStirred):
		return "the upstream can't be reached"
	}
	return "the upstream gave no valid answer"
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

const retryAfter = "5" // seconds

// refuse answers with a problem (RFC 9457).
func (r *refusal) answer(response *fasthttp.Response, requestID string) {
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Code      string `json:"code"`
		RequestID string `json:"request_id"`
	}{"about:blank", http.StatusText(r.status), r.status, r.detail, r.code, requestID})
	if err != nil {
		body = nil // strings and a number always encode
	}
	response.Reset()
	response.SetStatusCode(r.status)
	response.Header.SetContentType("application/problem+json")
	response.Header.Set("Cache-Control", "no-store")
	response.Header.Set("X-Request-Id", requestID)
	if r.status == fasthttp.StatusServiceUnavailable {
		response.Header.Set("Retry-After", retryAfter)
	}
	response.SetBody(body)
}
