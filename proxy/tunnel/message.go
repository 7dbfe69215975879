// Package tunnel is the wire between an edge and an agent: Hub is the edge's
// end, Client the agent's. A tunnel is one control channel and the stream
// connections that belong to its generation.
package tunnel

import "time"

// The control channel is one WebSocket (subprotocol ControlProtocol) that the
// agent opens. JSON text messages, each an Envelope with exactly one part set:
//
//	agent                          edge
//	  | -- hello ------------------> |   within HelloTimeout of the 101
//	  | <----------------- welcome - |   or refused
//	  | -- beat -------------------> |   every Welcome.Beat, answered by
//	  | <-------------------- beat - |   the same sequence number
//	  | <----------------- command - |
//	  | -- ack --------------------> |   the command is understood and durable at the agent
//	  | -- state ------------------> |   a session changed; also all of them in hello
//	  | <----------------- streams - |   open this many more stream connections
//	  | <------------------- homes - |   the edges to have tunnels to from now on; only after a hello with homes
//	  | -- bye --------------------> |   the agent leaves; Final when its sessions have ended
//	  | <----------------- refused - |   why the edge closes; the status of the close says the same
//
// A stream connection is an HTTP/1.1 request with "Upgrade: streamspace-stream"
// to the same path. After its 101 both sides speak the frames of open.go, and
// after an accepted open frame raw bytes until both have closed.

// ConnectPath is where the edge serves both kinds of connection.
const ConnectPath = "/api/v1/agents/connect"

// Names that the two kinds of connection ask for in their handshakes.
const (
	ControlProtocol = "streamspace-agent.v1"
	StreamProtocol  = "streamspace-stream"
)

// Request headers that carry credentials; never logged.
const (
	HeaderAgentID  = "Streamspace-Agent-Id"  // the agent's UUID
	HeaderAgentKey = "Streamspace-Agent-Key" // the secret that pins the id to its host (control channel)
	HeaderStream   = "Streamspace-Stream"    // Welcome.StreamToken (stream connections)
)

// Limits and timings of the protocol.
const (
	MaxMessage   = 1 << 20          // bytes of one control message; 10,000 sessions in a hello fit
	HelloTimeout = 10 * time.Second // from the 101 to the hello
	MaxSpares    = 256              // idle stream connections of one tunnel
	MaxHomes     = 16               // of one agent; an edge's list is cut there
)

// Envelope is one control message: exactly one field is set.
type Envelope struct {
	Hello   *Hello   `json:"hello,omitempty"`
	Welcome *Welcome `json:"welcome,omitempty"`
	Beat    *Beat    `json:"beat,omitempty"`
	Command *Command `json:"command,omitempty"`
	Ack     *Ack     `json:"ack,omitempty"`
	State   *Report  `json:"state,omitempty"`
	Streams *Streams `json:"streams,omitempty"`
	Homes   *Homes   `json:"homes,omitempty"`
	Bye     *Bye     `json:"bye,omitempty"`
	Refused *Error   `json:"refused,omitempty"`
}

// Hello is what an agent says of itself at each connect.
type Hello struct {
	AgentID  string            `json:"agent_id"`
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Capacity int               `json:"capacity"` // sessions at once
	Weight   int               `json:"weight"`
	Labels   map[string]string `json:"labels,omitempty"`
	Runtimes []Runtime         `json:"runtimes"` // the first is the default
	Sessions []Report          `json:"sessions"` // all that really run here now

	// Homes: this agent keeps a tunnel to each home that it is told. To one that
	// does not say so no Homes are sent: it would take them for a broken protocol.
	Homes bool `json:"homes,omitempty"`
}

// Runtime is one way in which the agent starts sessions.
type Runtime struct {
	Name  string `json:"name"`
	Type  string `json:"type,omitempty"`  // of proxy/agent's types; empty: not told
	Slots int    `json:"slots,omitempty"` // sessions at once; 0: only Capacity binds

	Endpoints []string `json:"endpoints,omitempty"` // names of VNC servers that exist already, for which a start may ask
	Missing   string   `json:"missing,omitempty"`   // why it can start nothing on that host, for a person; empty: it can
}

// Welcome accepts a hello.
type Welcome struct {
	Node        string        `json:"node"`         // the edge's id
	Generation  uint64        `json:"generation"`   // of this tunnel; larger than any before it for this agent
	StreamToken string        `json:"stream_token"` // credential of this generation's stream connections
	Beat        time.Duration `json:"beat"`         // nanoseconds between beats
	Spares      int           `json:"spares"`       // idle stream connections to keep open

	// URL and Pin lead to this very edge, whatever balancer stands at the address
	// by which the agent came, as those of a Home do; empty: not told.
	URL string `json:"url,omitempty"`
	Pin string `json:"pin,omitempty"`

	Homes []Home `json:"homes,omitempty"` // as in Homes
}

// Home is an edge that the agent should have a tunnel to.
type Home struct {
	Node string `json:"node"`          // the edge's id
	URL  string `json:"url"`           // https://HOST[:PORT], or http://
	Pin  string `json:"pin,omitempty"` // "sha256:" and the hex of the SHA-256 of its public key; empty: checked as the agent's config says
}

// Homes are all of an agent's homes as the edge that sends them knows them. An
// edge that leaves is not in its own list. With an empty list the edge says
// nothing: the agent goes on with what it has.
type Homes struct {
	List []Home `json:"list"`
}

// Beat is sent by the agent every Welcome.Beat and returned by the edge.
type Beat struct {
	Seq     uint64 `json:"seq"`
	Streams int    `json:"streams"` // that run now between this edge and the agent, of any generation

	// Lease is the edge's answer to how long the agent's sessions may live without
	// another such answer, counted from when the agent sent the beat: nanoseconds.
	// Then they may be started elsewhere, and the agent has ended them before. 0: for
	// ever. Negative: the edge can't say, and what was said before holds.
	Lease time.Duration `json:"lease,omitempty"`
}

// Action is what a command asks for.
type Action string

const (
	ActionStart Action = "start" // idempotent: a session that runs already is acked
	ActionStop  Action = "stop"  // idempotent: a session that is unknown is acked and reported ended
)

// Command is sent at least once; ID makes repeats harmless.
type Command struct {
	ID      string `json:"id"`
	Action  Action `json:"action"`
	Session string `json:"session"`
	Runtime string `json:"runtime,omitempty"` // start only, as are the sizes
	Width   int    `json:"width,omitempty"`   // pixels, 0: the runtime's default
	Height  int    `json:"height,omitempty"`

	Endpoint string `json:"endpoint,omitempty"` // one of Runtime.Endpoints; empty: any
}

// Ack answers a command: Error is nil when it was taken.
type Ack struct {
	ID    string `json:"id"`
	Error *Error `json:"error,omitempty"`
}

// SessionState is what an agent knows of a session.
type SessionState string

const (
	SessionStarting SessionState = "starting"
	SessionRunning  SessionState = "running"  // its VNC server answered
	SessionEnded    SessionState = "ended"    // gone, as asked
	SessionFailed   SessionState = "failed"   // gone, not as asked; Reason says why
	SessionStopping SessionState = "stopping" // its processes are being ended
)

// Report is the state of one session at the agent.
type Report struct {
	Session string       `json:"session"`
	State   SessionState `json:"state"`
	Reason  string       `json:"reason,omitempty"` // for a person

	Endpoint string `json:"endpoint,omitempty"` // the name of the one that the session has; empty: it has none, or one without a name
	Lost     bool   `json:"lost,omitempty"`     // failed, because Beat.Lease was over: it may be started elsewhere
}

// Streams asks the agent for more stream connections at once.
type Streams struct {
	More int `json:"more"`
}

// Bye says that the agent is leaving on purpose.
type Bye struct {
	Reason string `json:"reason"`
	Final  bool   `json:"final"` // its sessions have ended with it; otherwise it will be back and adopt them
}

// OpenRequest is the header of a stream: which session, and an id for both logs.
type OpenRequest struct {
	Session string `json:"session"`
	Stream  string `json:"stream"`
	// WebSocket: the edge can carry the frames of a VNC server that speaks
	// WebSocket itself.
	WebSocket bool `json:"websocket,omitempty"`
}
