package rfb

import (
	"fmt"
	"io"
)

// Welcome goes through the handshake with a viewer as its VNC server, up to
// ClientInit, which is the next thing that the viewer says. It offers 3.8 and
// None; whoever calls it has made sure already that the viewer may come in.
//
// Together with Authenticate it keeps a VNC server's password from viewers:
// after both, bytes can pass both ways untouched, even when the versions
// differ, since versions differ in nothing that follows.
//
// Exactly the handshake's bytes are read from rw. Deadlines are the caller's,
// who also closes rw after an error.
func Welcome(rw io.ReadWriter) (Handshake, error) {
	h := Handshake{Offered: V38, Security: SecurityNone}
	offer := h.Offered.Bytes()
	if _, err := rw.Write(offer[:]); err != nil {
		return h, err
	}
	var line [greetingLen]byte
	if err := hear(rw, line[:], "its greeting"); err != nil {
		return h, err
	}
	answer, err := ParseVersion(line)
	if err != nil {
		return h, err
	}
	var ok bool
	if h.Version, ok = answer.Spoken(); !ok {
		return h, fmt.Errorf("the viewer speaks RFB %v, which is older than 3.3", answer)
	}
	if h.Version == V33 {
		_, err = rw.Write(AppendSecurityType33(nil, SecurityNone))
		return h, err
	}
	if _, err := rw.Write(AppendSecurityTypes(nil, SecurityNone)); err != nil {
		return h, err
	}
	var choice [1]byte
	if err := hear(rw, choice[:], "which security type it takes"); err != nil {
		return h, err
	}
	if chosen := SecurityType(choice[0]); chosen != SecurityNone {
		err := fmt.Errorf("the viewer chose %v, which was not offered; offered is %v", chosen, SecurityNone)
		refusal := AppendSecurityResult(nil, SecurityFailed)
		if h.Version == V38 {
			refusal = AppendReason(refusal, err.Error())
		}
		_, _ = rw.Write(refusal) // it may be gone; the error says more
		return h, err
	}
	if h.Version == V37 { // which has no result for None
		return h, nil
	}
	_, err = rw.Write(AppendSecurityResult(nil, SecurityOK))
	return h, err
}

func hear(r io.Reader, b []byte, what string) error {
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("waiting for the viewer to say %s: %w", what, unexpected(err))
	}
	return nil
}
