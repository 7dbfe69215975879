package bench

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// hellos goes through the handshake with byte wrongServer of what the server
// says wrong on its way, and byte wrongViewer of what the viewer does; below 0
// none is.
func hellos(t *testing.T, wrongServer, wrongViewer int) (atServer, atViewer error) {
	t.Helper()
	near, far := net.Pipe()
	theirs, ours := net.Pipe()
	for _, end := range []net.Conn{near, far, theirs, ours} {
		_ = end.SetDeadline(time.Now().Add(30 * time.Second))
	}
	forward := func(dst, src net.Conn, wrong int) {
		b := make([]byte, 1)
		for i := 0; ; i++ {
			if _, err := io.ReadFull(src, b); err != nil {
				break
			}
			if i == wrong {
				b[0] ^= 0x40
			}
			if _, err := dst.Write(b); err != nil {
				break
			}
		}
		_ = dst.Close()
		_ = src.Close()
	}
	ended := make(chan error, 3)
	go func() {
		_, err := (&vncServer{}).hello(newWire(near))
		_ = near.Close()
		ended <- err
	}()
	go func() { forward(theirs, far, wrongServer); ended <- nil }()
	go func() { forward(far, theirs, wrongViewer); ended <- nil }()
	number, atViewer := (&viewer{wire: newWire(ours)}).hello()
	if atViewer == nil && number != 1 {
		t.Errorf("connection %d", number)
	}
	_ = ours.Close()
	for range 3 {
		atServer = errors.Join(atServer, <-ended)
	}
	return atServer, atViewer
}

func TestEachWrongByteOfTheHandshakeIsFound(t *testing.T) {
	if server, viewer := hellos(t, -1, -1); server != nil || viewer != nil {
		t.Fatalf("%v, %v", server, viewer)
	}
	said, answered := serverInitLen, 0
	for _, step := range helloSteps() {
		said += len(step.server)
		answered += len(step.viewer)
	}
	for i := range said {
		if server, viewer := hellos(t, i, -1); server == nil && viewer == nil {
			t.Errorf("the server's byte %d is wrong and was taken", i)
		}
	}
	for i := range answered {
		if server, viewer := hellos(t, -1, i); server == nil && viewer == nil {
			t.Errorf("the viewer's byte %d is wrong and was taken", i)
		}
	}
}
