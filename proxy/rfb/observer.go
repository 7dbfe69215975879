package rfb

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Phase is how far an Observer can tell what passes.
type Phase uint8

const (
	// PhaseHandshake: neither side has sent a message yet. A server that has
	// refused its viewer stays here: it may still say why.
	PhaseHandshake Phase = iota
	// PhaseNormal: after ClientInit, a Scanner or Filter can follow the viewer.
	PhaseNormal
	// PhaseOpaque: the two agreed on something that can't be looked into, like
	// TLS. What follows may be anything.
	PhaseOpaque
	// PhaseFailed: one of them broke the protocol, so what the other makes of
	// it can't be known. What follows may be anything.
	PhaseFailed
)

func (p Phase) String() string {
	switch p {
	case PhaseHandshake:
		return "handshake"
	case PhaseNormal:
		return "normal"
	case PhaseOpaque:
		return "opaque"
	default:
		return "failed"
	}
}

// Observer follows a handshake that passes through untouched, to find the byte
// at which the viewer's messages begin. Tell it what each side says, cut
// anywhere, in the order in which it came and before it is passed on: then
// nobody can have answered what the observer has not seen. The zero value is
// ready to use; it is not safe for concurrent use.
//
// It trusts neither side. In PhaseHandshake a viewer gets through the bytes
// that the handshake has room for, 30 at most, each only when it is the
// viewer's turn; whoever speaks out of turn, or says what no peer of the other
// may say, makes it fail. Who has to enforce something ends the stream in
// PhaseOpaque and PhaseFailed; Err says why.
type Observer struct {
	phase   Phase
	step    step
	have    uint8 // bytes of the step
	types   uint8 // how many the server offers
	none    bool  // is among them
	vncAuth bool  // is among them
	agreed  Handshake
	word    [greetingLen]byte // what has come of the step, as far as it is looked at
	err     error
}

// ObserveBehind is an Observer of a handshake that somebody else has gone
// through for both sides, up to ClientInit.
func ObserveBehind(agreed Handshake) Observer { return Observer{step: viewerInits, agreed: agreed} }

// step is one word of the handshake, with one who says it.
type step uint8

const (
	serverGreets step = iota
	viewerGreets
	serverDecides // 3.3
	serverCounts  // 3.7 and later: its security types,
	serverOffers  // which follow
	viewerChooses
	serverChallenges
	viewerResponds
	serverJudges
	serverExplains // why it refused, until it leaves
	viewerInits
)

func (s step) viewers() bool {
	return s == viewerGreets || s == viewerChooses || s == viewerResponds || s == viewerInits
}

// length is in bytes.
func (o *Observer) length() uint8 {
	switch o.step {
	case serverGreets, viewerGreets:
		return greetingLen
	case serverDecides, serverJudges:
		return 4
	case serverOffers:
		return o.types
	case serverChallenges, viewerResponds:
		return ChallengeLen
	default:
		return 1
	}
}

// Server is told what the VNC server says next.
func (o *Observer) Server(p []byte) Phase {
	o.hear(p, false)
	return o.phase
}

// Viewer is told what the viewer says next. The first n bytes of p belong to
// the handshake; when the phase is PhaseNormal for the first time, the last of
// them is the ClientInit, and messages begin behind it. In other phases than
// PhaseHandshake n is 0 from then on.
func (o *Observer) Viewer(p []byte) (n int, phase Phase) {
	n = o.hear(p, true)
	return n, o.phase
}

// Err tells why the phase is PhaseOpaque or PhaseFailed, in words for a person;
// else it is nil.
func (o *Observer) Err() error { return o.err }

// Handshake is what the two have agreed on so far; what is still open is 0.
func (o *Observer) Handshake() Handshake { return o.agreed }

func (o *Observer) hear(p []byte, viewer bool) (n int) {
	for n < len(p) && o.phase == PhaseHandshake {
		switch {
		case viewer && o.step == serverExplains:
			o.fail(errors.New("the viewer spoke on after the VNC server had refused it"))
		case viewer && !o.step.viewers():
			o.fail(errors.New("the viewer spoke before the VNC server had answered"))
		case !viewer && o.step.viewers():
			o.fail(errors.New("the VNC server spoke when it was the viewer's turn"))
		case o.step == serverExplains:
			return len(p)
		default:
			n += o.listen(p[n:])
		}
	}
	return n
}

// listen takes what belongs to the step, and goes on to the next one.
func (o *Observer) listen(p []byte) (n int) {
	length := o.length()
	n = min(len(p), int(length-o.have))
	if o.step == serverOffers {
		for _, t := range p[:n] {
			o.none = o.none || SecurityType(t) == SecurityNone
			o.vncAuth = o.vncAuth || SecurityType(t) == SecurityVNCAuth
		}
	} else if int(o.have) < len(o.word) {
		copy(o.word[o.have:], p[:n])
	}
	o.have += uint8(n)
	if o.have == length {
		o.have = 0
		o.next()
	}
	return n
}

// next is called with a whole word.
func (o *Observer) next() {
	switch o.step {
	case serverGreets:
		o.serverGreeted()
	case viewerGreets:
		o.viewerGreeted()
	case serverDecides:
		kind := binary.BigEndian.Uint32(o.word[:])
		if kind > 0xff {
			o.fail(fmt.Errorf("the VNC server wants security type %d, which does not exist", kind))
			return
		}
		o.none, o.vncAuth = true, true
		o.secure(SecurityType(kind))
	case serverCounts:
		o.types = o.word[0]
		o.step = serverOffers
		if o.types == 0 {
			o.step = serverExplains
		}
	case serverOffers:
		o.step = viewerChooses
	case viewerChooses:
		if o.word[0] == byte(SecurityInvalid) {
			o.fail(errors.New("the viewer chose security type 0, which can't be offered"))
			return
		}
		o.secure(SecurityType(o.word[0]))
	case serverChallenges:
		o.step = viewerResponds
	case viewerResponds:
		o.step = serverJudges
	case serverJudges:
		o.step = viewerInits
		if SecurityResult(binary.BigEndian.Uint32(o.word[:])) != SecurityOK {
			o.step = serverExplains
		}
	case viewerInits:
		o.phase = PhaseNormal
	}
}

func (o *Observer) serverGreeted() {
	offered, err := ParseVersion(o.word)
	if err != nil {
		o.fail(fmt.Errorf("the VNC server's %w", err))
		return
	}
	o.agreed.Offered = offered
	if _, ok := offered.Spoken(); !ok {
		o.hide(fmt.Errorf("the VNC server speaks RFB %v, whose handshake is not known", offered))
		return
	}
	o.step = viewerGreets
}

// viewerGreeted takes only the versions that all servers understand alike. To
// others, such as 3.6 or 4.1, each maker's servers answer in their own way.
func (o *Observer) viewerGreeted() {
	answer, err := ParseVersion(o.word)
	if err != nil {
		o.fail(fmt.Errorf("the viewer's %w", err))
		return
	}
	switch answer {
	case V33, V37, V38:
	default:
		o.hide(fmt.Errorf("the viewer speaks RFB %v, whose handshake is not known", answer))
		return
	}
	if highest, _ := o.agreed.Offered.Spoken(); answer > highest {
		o.fail(fmt.Errorf("the viewer speaks RFB %v to a VNC server that knows only %v", answer, o.agreed.Offered))
		return
	}
	o.agreed.Version = answer
	o.step = serverCounts
	if answer == V33 {
		o.step = serverDecides
	}
}

func (o *Observer) secure(chosen SecurityType) {
	if chosen == SecurityNone && !o.none || chosen == SecurityVNCAuth && !o.vncAuth {
		o.fail(fmt.Errorf("the viewer chose %v, which was not offered", chosen))
		return
	}
	o.agreed.Security = chosen
	switch {
	case chosen == SecurityInvalid:
		o.step = serverExplains
	case chosen == SecurityVNCAuth:
		o.step = serverChallenges
	case chosen != SecurityNone:
		o.hide(fmt.Errorf("the connection is secured with %v, into which nobody between viewer and VNC server can look", chosen))
	case o.agreed.Version == V38:
		o.step = serverJudges
	default: // only 3.8 has a result for None
		o.step = viewerInits
	}
}

func (o *Observer) hide(why error) { o.phase, o.err = PhaseOpaque, why }
func (o *Observer) fail(why error) { o.phase, o.err = PhaseFailed, why }
