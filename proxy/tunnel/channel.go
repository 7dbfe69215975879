package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	sendQueue     = 64               // control messages that wait for the writer
	writeTimeout  = 10 * time.Second // one control message
	closeTimeout  = 2 * time.Second  // saying why, and the close handshake
	maxCloseText  = 123              // bytes of a close frame's reason: RFC 6455 section 5.5
	beatsToSilent = 2.5              // two missed beats, and half a beat for their jitter
)

// errLeft ends a channel on purpose, without a fault.
var errLeft = errors.New("closed on purpose")

// peerError is the coded reason with which the other end closed the channel.
type peerError struct{ reason *Error }

func (e peerError) Error() string { return e.reason.Text }
func (e peerError) Unwrap() error { return e.reason }

// lostError ends a channel whose connection broke. People are told that alone;
// the cause is for the log.
type lostError struct{ cause error }

func (e lostError) Error() string { return "connection lost: " + e.cause.Error() }
func (e lostError) Unwrap() error { return e.cause }

// channel is one end of a control channel. First transmit and receive are
// called in turn for the handshake, then run, once, or refuse.
type channel struct {
	ws    *websocket.Conn
	out   chan Envelope
	ctx   context.Context // ends with the channel; its cause says why
	end   context.CancelCauseFunc
	read  context.Context // outlives ctx, so that the close handshake can be read
	abort context.CancelFunc
}

func newChannel(ws *websocket.Conn) *channel {
	ws.SetReadLimit(MaxMessage)
	c := &channel{ws: ws, out: make(chan Envelope, sendQueue)}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	c.read, c.abort = context.WithCancel(context.Background())
	return c
}

// run carries messages until the channel ends, for whatever reason: see the
// cause of ctx. handle is called for each message in turn; its error
// ends the channel, and so does silence for two beats.
func (c *channel) run(beat time.Duration, handle func(Envelope) error) {
	silence := time.Duration(beatsToSilent * float64(beat))
	watchdog := time.AfterFunc(silence, func() {
		c.end(fmt.Errorf("no heartbeat for %v", silence))
	})
	defer watchdog.Stop()
	var workers sync.WaitGroup
	workers.Go(func() {
		for c.ctx.Err() == nil {
			message, err := c.receive(c.read)
			if err == nil {
				watchdog.Reset(silence)
				err = handle(message)
			}
			if err != nil {
				c.end(err)
			}
		}
	})
	workers.Go(c.drainQueue)
	<-c.ctx.Done()
	c.close(context.Cause(c.ctx))
	workers.Wait()
}

// refuse ends a channel that never ran.
func (c *channel) refuse(why error) {
	c.end(why)
	c.close(why)
}

func (c *channel) drainQueue() {
	for {
		select {
		case message := <-c.out:
			if err := c.transmit(message); err != nil {
				c.end(err)
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// close tells a coded why to the other end, where there still is one.
func (c *channel) close(why error) {
	defer c.abort()
	var coded *Error
	var peer peerError
	switch {
	case errors.As(why, &peer), errors.Is(why, errLeft):
	case errors.As(why, &coded):
	default:
		_ = c.ws.CloseNow() // broken or silent: there is nobody to tell
		return
	}
	timer := time.AfterFunc(closeTimeout, c.abort)
	defer timer.Stop()
	status, text := websocket.StatusNormalClosure, ""
	if coded != nil {
		// The whole text goes ahead, for a close frame holds only 123 bytes of it.
		if message, err := json.Marshal(Envelope{Refused: coded}); err == nil {
			_ = c.ws.Write(c.read, websocket.MessageText, message)
		}
		status, text = coded.Code.closeStatus(), cut(coded.Text, maxCloseText)
	}
	_ = c.ws.Close(status, text)
}

// send queues a message. It fails with the channel's end, or with ctx.
func (c *channel) send(ctx context.Context, message Envelope) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	select {
	case c.out <- message:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *channel) transmit(message Envelope) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > MaxMessage {
		return Errorf(CodeBadRequest, "a control message of %d bytes, the limit is %d", len(text), MaxMessage)
	}
	ctx, cancel := context.WithTimeout(c.read, writeTimeout)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, text); err != nil {
		return lostError{err}
	}
	return nil
}

func (c *channel) receive(ctx context.Context) (Envelope, error) {
	kind, text, err := c.ws.Read(ctx)
	if err != nil {
		return Envelope{}, closedBy(err)
	}
	if kind != websocket.MessageText {
		return Envelope{}, Errorf(CodeBadRequest, "a binary message on the control channel")
	}
	message, err := parseEnvelope(text)
	if err == nil && message.Refused != nil {
		err = peerError{message.Refused}
	}
	return message, err
}

// closedBy finds the coded reason in the end of a WebSocket.
func closedBy(err error) error {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return Errorf(CodeBadRequest, "a control message of more than %d bytes", MaxMessage)
	}
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		return lostError{err}
	}
	if code := codeOfStatus(closed.Code); code != "" {
		return peerError{&Error{Code: code, Text: closed.Reason}}
	}
	switch closed.Code {
	case websocket.StatusNormalClosure:
		return errLeft
	case websocket.StatusMessageTooBig:
		return peerError{Errorf(CodeBadRequest, "the other end refused a control message of more than %d bytes", MaxMessage)}
	}
	return fmt.Errorf("closed by the other end with status %d %s", closed.Code, closed.Reason)
}

func parseEnvelope(text []byte) (Envelope, error) {
	var e Envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return Envelope{}, Errorf(CodeBadRequest, "a control message that is not JSON of this protocol: %v", err)
	}
	parts := 0
	for _, set := range []bool{
		e.Hello != nil, e.Welcome != nil, e.Beat != nil, e.Command != nil, e.Ack != nil,
		e.State != nil, e.Streams != nil, e.Homes != nil, e.Bye != nil, e.Refused != nil,
	} {
		if set {
			parts++
		}
	}
	if parts != 1 {
		return Envelope{}, Errorf(CodeBadRequest, "a control message with %d parts, want exactly one", parts)
	}
	return e, nil
}
