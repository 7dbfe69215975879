package bench

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

const (
	handshakeLimit = 60 * time.Second // from the connect to the RFB hello; a chain that forks a process for each viewer needs it under load
	readSize       = 32 << 10
	maxHTTPHead    = 16 << 10
)

// wire is one end's connection, of bare bytes or of WebSocket frames. One
// goroutine reads it and any may send.
type wire struct {
	conn    net.Conn
	framed  bool
	masks   bool // this end is the viewer's
	frames  frameReader
	buffer  []byte
	pending []byte // came and was not taken yet
	take    func([]byte) error
}

func newWire(conn net.Conn) *wire { return &wire{conn: conn} }

// frame turns the wire into one of frames, as the viewer's end or the server's.
func (w *wire) frame(viewer bool) {
	w.framed, w.masks = true, viewer
	w.frames.masked = !viewer
	early := w.pending
	w.pending = nil
	w.take = w.keep
	_ = w.deliver(early) // a breach shows at the next read, which lacks bytes then
}

func (w *wire) keep(p []byte) error {
	w.pending = append(w.pending, p...)
	return nil
}

func (w *wire) data(p []byte) error { return w.take(p) }

func (w *wire) control(op byte, p []byte) error {
	if op != opPing {
		return nil
	}
	_, err := w.conn.Write(append(appendFrameHead(nil, opPong, len(p), w.masks), p...))
	return err
}

func (w *wire) deliver(p []byte) error {
	if w.framed {
		return w.frames.feed(p, w)
	}
	return w.take(p)
}

// read takes what comes next, once.
func (w *wire) read() error {
	if w.buffer == nil {
		w.buffer = make([]byte, readSize)
	}
	n, err := w.conn.Read(w.buffer)
	if n > 0 {
		if err := w.deliver(w.buffer[:n]); err != nil {
			return err
		}
	}
	return err
}

// exactly returns the next n bytes; they are valid until the next call.
func (w *wire) exactly(n int) ([]byte, error) {
	w.take = w.keep
	for len(w.pending) < n {
		if err := w.read(); err != nil {
			return nil, err
		}
	}
	p := w.pending[:n]
	w.pending = w.pending[n:]
	return p, nil
}

// pump hands all that comes to take, until an error, which is never nil.
func (w *wire) pump(take func([]byte) error) error {
	w.take = take
	early := w.pending
	w.pending = nil
	if len(early) > 0 {
		if err := take(early); err != nil {
			return err
		}
	}
	for {
		if err := w.read(); err != nil {
			return err
		}
	}
}

// send sends p as one message.
func (w *wire) send(p []byte) error {
	if w.framed {
		p = append(appendFrameHead(make([]byte, 0, longestHead+len(p)), opBinary, len(p), w.masks), p...)
	}
	_, err := w.conn.Write(p)
	return err
}

// sendUpdate sends an update as one message in one system call. scratch is
// memory for its head.
func (w *wire) sendUpdate(scratch []byte, number uint32, pixels []byte) error {
	head := scratch[:0]
	if w.framed {
		head = appendFrameHead(head, opBinary, updateHead+len(pixels), w.masks)
	}
	head = appendUpdateHead(head, number, now(), len(pixels))
	buffers := net.Buffers{head, pixels}
	_, err := buffers.WriteTo(w.conn)
	return err
}

// httpHead reads a request's or an answer's lines up to the empty one.
func (w *wire) httpHead() (first string, header textproto.MIMEHeader, err error) {
	w.take = w.keep
	for {
		if end := bytes.Index(w.pending, []byte("\r\n\r\n")); end >= 0 {
			lines := strings.Split(string(w.pending[:end]), "\r\n")
			w.pending = append([]byte(nil), w.pending[end+4:]...)
			header = textproto.MIMEHeader{}
			for _, line := range lines[1:] {
				name, value, _ := strings.Cut(line, ":")
				header.Add(name, strings.TrimSpace(value))
			}
			return lines[0], header, nil
		}
		if len(w.pending) > maxHTTPHead {
			return "", nil, fmt.Errorf("%d bytes came and no end of an HTTP head", len(w.pending))
		}
		if err := w.read(); err != nil {
			return "", nil, err
		}
	}
}

// acceptKey answers a Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
