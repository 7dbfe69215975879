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
	var r Reception
	if _, err := rw.Write(r.Greeting()); err != nil {
		return r.Handshake(), err
	}
	for !r.Done() {
		word := make([]byte, r.length())
		if _, err := io.ReadFull(rw, word); err != nil {
			return r.Handshake(), fmt.Errorf("waiting for the viewer to say %s: %w", r.awaited(), unexpected(err))
		}
		_, answer, err := r.Hear(word)
		if _, failed := rw.Write(answer); err == nil {
			err = failed // after an error the viewer may be gone; the error says more
		}
		if err != nil {
			return r.Handshake(), err
		}
	}
	return r.Handshake(), nil
}

// Reception is Welcome for who can't wait: it takes what the viewer says as it
// comes. Begin with sending Greeting. The zero value is ready to use; it is not
// safe for concurrent use.
type Reception struct {
	version Version // that the viewer speaks; 0 until it has greeted
	have    int     // bytes of the word
	word    [greetingLen]byte
	done    bool
}

// Greeting is what is said first.
func (r *Reception) Greeting() []byte {
	line := V38.Bytes()
	return line[:]
}

// Hear takes the first n bytes of p, one word of the viewer's or a part of it,
// and returns what has to be sent in answer, nothing perhaps. After an error
// too the answer is for the viewer; the handshake has failed then.
func (r *Reception) Hear(p []byte) (n int, answer []byte, err error) {
	n = copy(r.word[r.have:r.length()], p)
	if r.have += n; r.have < r.length() || r.done {
		return n, nil, nil
	}
	r.have = 0
	if r.version == 0 {
		answer, err = r.greeted()
	} else {
		answer, err = r.chosen(SecurityType(r.word[0]))
	}
	return n, answer, err
}

// Done tells whether the viewer's ClientInit is what comes next.
func (r *Reception) Done() bool { return r.done }

// Handshake is what was agreed on; Version is 0 until it was.
func (r *Reception) Handshake() Handshake {
	return Handshake{Offered: V38, Version: r.version, Security: SecurityNone}
}

// length is the word's, in bytes.
func (r *Reception) length() int {
	switch {
	case r.done:
		return 0
	case r.version == 0:
		return greetingLen
	default:
		return 1
	}
}

func (r *Reception) awaited() string {
	if r.version == 0 {
		return "its greeting"
	}
	return "which security type it takes"
}

func (r *Reception) greeted() (answer []byte, err error) {
	said, err := ParseVersion(r.word)
	if err != nil {
		return nil, err
	}
	var ok bool
	if r.version, ok = said.Spoken(); !ok {
		return nil, fmt.Errorf("the viewer speaks RFB %v, which is older than 3.3", said)
	}
	if r.version == V33 {
		r.done = true
		return AppendSecurityType33(nil, SecurityNone), nil
	}
	return AppendSecurityTypes(nil, SecurityNone), nil
}

func (r *Reception) chosen(t SecurityType) (answer []byte, err error) {
	if t != SecurityNone {
		err := fmt.Errorf("the viewer chose %v, which was not offered; offered is %v", t, SecurityNone)
		answer = AppendSecurityResult(nil, SecurityFailed)
		if r.version == V38 {
			answer = AppendReason(answer, err.Error())
		}
		return answer, err
	}
	r.done = true
	if r.version == V37 { // which has no result for None
		return nil, nil
	}
	return AppendSecurityResult(nil, SecurityOK), nil
}
