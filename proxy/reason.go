package proxy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Reason is a stable word for why a viewer was refused or its stream ended. It
// is what logs, metrics, problem+json codes and close frames say.
type Reason string

const (
	WrongMethod    Reason = "wrong_method"
	NotWebSocket   Reason = "not_websocket"
	BadVersion     Reason = "bad_version"
	BadHandshake   Reason = "bad_handshake"
	OriginDenied   Reason = "origin_denied"
	BadTicket      Reason = "bad_ticket"
	ExpiredTicket  Reason = "expired_ticket"
	UsedTicket     Reason = "used_ticket"
	NoSuchSession  Reason = "no_such_session"
	SessionStarts  Reason = "session_starting"
	SessionEnded   Reason = "session_ended"
	AgentOffline   Reason = "agent_offline"
	AgentBusy      Reason = "agent_busy"
	LimitReached   Reason = "limit_reached"
	SessionLimit   Reason = "session_limit_reached"
	UserLimit      Reason = "user_limit_reached"
	NodeDraining   Reason = "node_draining"
	EndpointDenied Reason = "endpoint_denied"
	VNCRefused     Reason = "vnc_refused"
	VNCPassword    Reason = "vnc_password"
	VNCSilent      Reason = "vnc_silent"
	NotVNC         Reason = "not_vnc"
	ViewerNotVNC   Reason = "viewer_not_vnc"
	TextFrame      Reason = "text_frame"
	ProtocolError  Reason = "protocol_error"
	MessageTooBig  Reason = "message_too_big"
	Idle           Reason = "idle"
	MaxDuration    Reason = "max_duration"
	TakenDown      Reason = "taken_down"
	Unenforceable  Reason = "unenforceable"
	ViewerLeft     Reason = "viewer_left"
	ViewerLost     Reason = "viewer_lost"
	ServerClosed   Reason = "server_closed"
	ServerReset    Reason = "server_reset"
	Unavailable    Reason = "unavailable"
	Internal       Reason = "internal"
)

// Party is who brought a stream to its end.
type Party string

const (
	ByViewer Party = "viewer"
	ByServer Party = "server" // the VNC server, or the agent and network in front of it
	ByEdge   Party = "edge"
)

// ReasonInfo is one row of the table from reasons to what each side is told.
type ReasonInfo struct {
	Reason Reason `json:"reason"`
	Status int    `json:"status"` // HTTP, when it is known before the upgrade
	Close  uint16 `json:"close"`  // WebSocket (RFC 6455 section 7.4), after it; 4000 and up are ours
	By     Party  `json:"by"`
	Retry  bool   `json:"retry"` // the same page may mend it by trying again with a fresh ticket
	Words  string `json:"words"` // for the person who looks at the page
}

var reasons = []ReasonInfo{
	{WrongMethod, 405, 1002, ByViewer, false, "This address takes GET requests only."},
	{NotWebSocket, 426, 1002, ByViewer, false, "This address speaks WebSocket only."},
	{BadVersion, 426, 1002, ByViewer, false, "This address speaks version 13 of WebSocket only."},
	{BadHandshake, 400, 1002, ByViewer, false, "The WebSocket handshake is malformed."},
	{OriginDenied, 403, 4403, ByEdge, false, "Pages of this site may not open desktops here."},
	{BadTicket, 401, 4401, ByEdge, false, "The ticket for this desktop is not valid."},
	{ExpiredTicket, 401, 4402, ByEdge, true, "The ticket for this desktop has expired."},
	{UsedTicket, 401, 4405, ByEdge, true, "The ticket for this desktop was used already."},
	{NoSuchSession, 404, 4404, ByEdge, false, "There is no such desktop."},
	{SessionStarts, 503, 4425, ByEdge, true, "The desktop is starting."},
	{SessionEnded, 410, 4410, ByEdge, false, "The desktop has ended."},
	{AgentOffline, 503, 4503, ByServer, true, "The desktop's host is offline."},
	{AgentBusy, 503, 4504, ByServer, true, "The desktop's host is too busy to answer."},
	{LimitReached, 503, 1013, ByEdge, true, "Too many viewers are connected at the moment."},
	{SessionLimit, 429, 1013, ByEdge, true, "This desktop has as many viewers as it may have at once."},
	{UserLimit, 429, 1013, ByEdge, true, "The desktops of this desktop's owner have as many viewers as they may have at once."},
	{NodeDraining, 503, 1012, ByEdge, true, "This server is shutting down or restarting."},
	{EndpointDenied, 403, 4411, ByEdge, false, "The desktop's address is not one that this server may connect to."},
	{VNCRefused, 502, 4502, ByServer, true, "The desktop's VNC server does not accept connections."},
	{VNCPassword, 502, 4507, ByServer, false, "The desktop's VNC server refused the password that this server has for it."},
	{VNCSilent, 504, 4505, ByServer, true, "The desktop's VNC server does not answer."},
	{NotVNC, 502, 4506, ByServer, false, "What answers at the desktop's address is not a VNC server."},
	{ViewerNotVNC, 400, 4400, ByViewer, false, "The viewer does not speak VNC (RFB)."},
	{TextFrame, 400, 1003, ByViewer, false, "The viewer sent text where VNC needs binary messages."},
	{ProtocolError, 400, 1002, ByViewer, false, "The viewer broke the rules of WebSocket."},
	{MessageTooBig, 413, 1009, ByViewer, false, "The viewer sent a message of more than 16 MiB."},
	{Idle, 410, 4412, ByEdge, false, "The desktop was not used for too long."},
	{MaxDuration, 410, 4413, ByEdge, false, "The desktop has reached its longest allowed time."},
	{TakenDown, 410, 4414, ByEdge, false, "An operator took the desktop down."},
	{Unenforceable, 403, 4415, ByEdge, false, "This VNC server's kind of security makes a limited viewer impossible."},
	{ViewerLeft, 400, 1000, ByViewer, false, "The viewer was closed."},
	{ViewerLost, 400, 4408, ByViewer, true, "The connection to the viewer was lost."},
	{ServerClosed, 502, 4500, ByServer, true, "The desktop closed the connection."},
	{ServerReset, 502, 4501, ByServer, true, "The connection to the desktop was lost."},
	{Unavailable, 503, 1011, ByEdge, true, "A part that this server needs does not answer at the moment."},
	{Internal, 500, 1011, ByEdge, true, "Something went wrong in this server; its log says what."},
}

// Reasons is the whole table, for tests, documentation and the console.
func Reasons() []ReasonInfo { return append([]ReasonInfo(nil), reasons...) }

// Info is r's row. A word that is not in the table is shown as it is, and
// closes like Internal.
func (r Reason) Info() ReasonInfo {
	for _, info := range reasons {
		if info.Reason == r {
			return info
		}
	}
	return ReasonInfo{r, 500, 1011, ByEdge, true, "The connection ended."}
}

// isReasonsCode tells whether a close code is one that reasons have for
// themselves.
func isReasonsCode(code uint16) bool { return code >= 4400 && code <= 4599 }

// Refusal is the error that Options.Authorize and Options.Dial return to name
// the reason. Detail is for the person at the viewer; empty means the table's
// words. Cause is for the log and may be nil.
type Refusal struct {
	Reason Reason
	Detail string
	Cause  error
}

func (r *Refusal) Error() string {
	text := string(r.Reason) + ": " + r.Words()
	if r.Cause != nil {
		text += ": " + r.Cause.Error()
	}
	return text
}

func (r *Refusal) Unwrap() error { return r.Cause }

// Words are for the person at the viewer: Detail, else the table's.
func (r *Refusal) Words() string {
	if r.Detail != "" {
		return r.Detail
	}
	return r.Reason.Info().Words
}

// asRefusal finds the Refusal in err's chain, or wraps err as an Internal one.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Reason: Internal, Cause: err}
}

// closeText is the reason of a close frame: "word: what a person should know",
// cut at a character's edge to what a control frame holds beside its code.
func closeText(r *Refusal) string {
	const most = maxControl - 2
	text := fmt.Sprintf("%s: %s", r.Reason, strings.ToValidUTF8(r.Words(), "?"))
	if len(text) <= most {
		return text
	}
	cut := most - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
