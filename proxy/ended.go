package proxy

import (
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
)

// Ended is a viewer that has left, or that was refused.
type Ended struct {
	ID                 string // of the stream, or of the request that was refused
	Remote             string // "HOST:PORT"
	Came               time.Time
	Host, UserAgent    string
	Query              bool   // the request had one
	TLS                uint16 // the version; 0: none
	HTTP2              bool   // it came by that (RFC 8441)
	Status             int    // of the answer: 101, or the refusal's
	Reason             Reason
	ToServer, ToViewer int64 // bytes of RFB
}

// newVisit copies what the server forgets once the connection is taken over.
func newVisit(ctx *fasthttp.RequestCtx) visit {
	v := visit{
		id: uuid.Must(uuid.NewV7()).String(), remote: ctx.RemoteAddr().String(), asked: time.Now(),
		host: string(ctx.Host()), agent: string(ctx.UserAgent()), query: len(ctx.URI().QueryString()) > 0,
	}
	if state := ctx.TLSConnectionState(); state != nil {
		v.tls, v.http2 = state.Version, state.NegotiatedProtocol == "h2"
	}
	return v
}

// refused tells of a viewer that is not let in.
func (p *Proxy) refused(v *visit, why *Refusal) {
	p.tellEnded(v, why, why.Reason.Info().Status, 0, 0)
	p.record("viewer refused", why, phaseAuthorize, v)
}

func (p *Proxy) tellEnded(v *visit, why *Refusal, status int, toServer, toViewer int64) {
	if p.options.Ended == nil {
		return
	}
	p.options.Ended(Ended{
		ID: v.id, Remote: v.remote, Came: v.asked, Host: v.host, UserAgent: v.agent, Query: v.query, TLS: v.tls, HTTP2: v.http2,
		Status: status, Reason: why.Reason, ToServer: toServer, ToViewer: toViewer,
	})
}
