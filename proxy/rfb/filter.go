package rfb

import "fmt"

// Policy is what a viewer may not do. The zero value lets it do everything.
//
// It binds any viewer, whatever the server knows beyond RFC 6143: a message that
// passes is as long to the server as it is here. For that, a viewer with a policy
// has no ExtendedMouseButtons, which is the one extension that changes the length
// of a message of the RFC. The messages that other extensions add have types of
// their own, each of one form; a server without the extension can't know their
// length and ends the connection. Out of reach is a server that reads a message
// of the RFC in another form altogether, like the longer PointerEvents of KasmVNC.
type Policy struct {
	// View lets it look and nothing else: of its messages pass those that say
	// what pixels it wants and when. Dropped are keys, pointer, clipboard, the
	// desktop's size, xvp, gii, and all of QEMU's (its audio has the same type
	// as its keys).
	View bool
	// NoClipboardIn drops its clipboard. Who may type can always type a text.
	NoClipboardIn bool
}

func (p Policy) drops(k Kind) bool {
	if !p.View {
		return p.NoClipboardIn && k == KindCutText
	}
	switch k {
	case KindSetPixelFormat, KindSetEncodings, KindUpdateRequest, KindContinuousUpdates, KindFence:
		return false
	default:
		return true
	}
}

// Filter enforces a Policy on what a client sends after its ClientInit, and
// tells when a person is at work. Set the Policy before the first Pass and never
// after: what a client said unwatched may have been meant to mislead. The zero
// value with a Policy is ready to use; it is not safe for concurrent use.
type Filter struct {
	Policy  Policy
	scanner Scanner
	err     error
}

// Pass takes the stream on, in slices cut anywhere, and returns what of p may
// pass: whole messages or parts of them, in order, and unchanged but that with a
// policy ExtendedMouseButtons in a list of encodings becomes one that is nobody's.
// It works in place: kept is a prefix of p, and nothing is moved as long as nothing
// is dropped. Whether a message passes is known with its first byte, so nothing is
// held back, and a dropped message of any length takes no memory.
//
// Human tells that a key or the pointer was used by a message that passes.
//
// The error is a message that is not known, behind which the policy can't be
// enforced; it wraps an *UnknownMessageError and is the same ever after. Without
// a policy there is no error: from such a message on everything passes, and
// counts as human, since nobody can tell it from a person at work.
func (f *Filter) Pass(p []byte) (kept []byte, human bool, err error) {
	if f.err != nil {
		return nil, false, f.err
	}
	f.scanner.strikeExtended = f.Policy != (Policy{})
	size := 0
	for at := 0; at < len(p); {
		part, err := f.scanner.Next(p[at:])
		if err != nil {
			if f.Policy == (Policy{}) {
				return p, true, nil // now and, since the scanner is lost, ever after
			}
			f.err = fmt.Errorf("the viewer can't be kept to what it may do: %w", err)
			return p[:size:size], human, f.err
		}
		if !f.Policy.drops(part.Kind) {
			if size != at {
				copy(p[size:], part.Data)
			}
			size += len(part.Data)
			human = human || part.Input()
		}
		at += len(part.Data)
	}
	return p[:size:size], human, nil
}
