package tunnel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// On an idle stream connection both ends speak in frames: a type byte, the
// payload's length in two bytes (big endian), the payload. The edge asks, the
// agent answers, and nobody speaks unasked:
//
//	edge                           agent
//	  | -- echo, 8 random bytes ----> |
//	  | <---- echo answer, the same - |
//	  | -- open, OpenRequest -------> |   connects to the VNC server
//	  | <--------------- open answer - |   with an error: the connection is idle again
//	  | <======== raw bytes =========> |   without: until both sides have closed
//
// The edge sends an echo and the open in one write: a spare whose other end is
// gone is found after echoTimeout, not after all the time that a VNC server
// may take to answer, and at no cost when the spare is alive.

type frameType byte

const (
	frameOpen       frameType = 1
	frameOpenAnswer frameType = 2
	frameEcho       frameType = 3
	frameEchoAnswer frameType = 4
)

const (
	frameHeader  = 3
	maxPayload   = 4096
	maxErrorText = 1024 // bytes of an open answer's text; JSON may triple them
	maxStreamID  = 128  // bytes of OpenRequest.Session and Stream each
	echoSize     = 8
)

// openAnswer is the payload of an open answer: Error is nil when the VNC
// server is connected.
type openAnswer struct {
	Error     *Error `json:"error,omitempty"`
	WebSocket bool   `json:"websocket,omitempty"` // the raw bytes are frames; only for an edge that takes them
}

// WebSocket is a stream whose bytes are the frames of a WebSocket, of which the
// VNC server is the server's end, after the opening handshake.
type WebSocket struct{ net.Conn }

func appendFrame(b []byte, t frameType, payload []byte) []byte {
	b = append(b, byte(t))
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// readFrame reads exactly one frame and not a byte more, because what follows
// may be a stream's raw bytes. io.EOF means that nothing was read.
func readFrame(r io.Reader) (frameType, []byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	kind, size := frameType(header[0]), int(binary.BigEndian.Uint16(header[1:]))
	switch kind {
	case frameEcho, frameEchoAnswer:
		if size != echoSize {
			return 0, nil, Errorf(CodeBadRequest, "an echo frame of %d bytes, want %d", size, echoSize)
		}
	case frameOpen, frameOpenAnswer:
		if size > maxPayload {
			return 0, nil, Errorf(CodeBadRequest, "a frame of %d bytes, the limit is %d", size, maxPayload)
		}
	default:
		return 0, nil, Errorf(CodeBadRequest, "an unknown frame type %d", header[0])
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("a truncated frame: %w", io.ErrUnexpectedEOF)
	}
	return kind, payload, nil
}

// openFrame refuses a request that the agent would refuse.
func openFrame(o OpenRequest) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return appendFrame(nil, frameOpen, payload), nil
}

func parseOpen(payload []byte) (OpenRequest, error) {
	var o OpenRequest
	if err := json.Unmarshal(payload, &o); err != nil {
		return OpenRequest{}, Errorf(CodeBadRequest, "an open frame that is not JSON: %v", err)
	}
	return o, o.check()
}

func (o OpenRequest) check() error {
	for _, id := range []struct{ name, value string }{{"session", o.Session}, {"stream", o.Stream}} {
		if id.value == "" || len(id.value) > maxStreamID {
			return Errorf(CodeBadRequest, "an open request whose %s id has %d bytes, want 1 to %d", id.name, len(id.value), maxStreamID)
		}
	}
	return nil
}

func openAnswerFrame(e *Error) ([]byte, error) {
	if e != nil {
		e = &Error{Code: e.Code, Text: cut(e.Text, maxErrorText)}
	}
	payload, err := json.Marshal(openAnswer{Error: e})
	if err == nil && len(payload) > maxPayload {
		payload, err = json.Marshal(openAnswer{Error: &Error{Code: e.Code, Text: string(e.Code)}})
	}
	if err != nil {
		return nil, err
	}
	return appendFrame(nil, frameOpenAnswer, payload), nil
}

// openedFrame answers an open with ok.
func openedFrame(server net.Conn) ([]byte, error) {
	_, webSocket := server.(*WebSocket)
	payload, err := json.Marshal(openAnswer{WebSocket: webSocket})
	if err != nil {
		return nil, err
	}
	return appendFrame(nil, frameOpenAnswer, payload), nil
}

func parseOpenAnswer(payload []byte) (openAnswer, error) {
	var a openAnswer
	if err := json.Unmarshal(payload, &a); err != nil {
		return openAnswer{}, Errorf(CodeBadRequest, "an open answer that is not JSON: %v", err)
	}
	return a, nil
}
