package demo

import (
	"bufio"
	"context"
	"encoding/binary"
	"image"
	"io"
	"net"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// client is a viewer written from RFC 6143. It understands Raw and keeps the
// picture as it came; of ZRLE it checks the frame only.
type client struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	end  chan error // what ServeConn returned

	size        image.Point
	bytesPer    int // pixel
	picture     []byte
	texts       []string
	bells, maps int
	sizes       []sizeTold // by ExtendedDesktopSize, or by DesktopSize with why -1
	zrle        int        // bytes of ZRLE data
}

type sizeTold struct {
	why, status int
	size        image.Point
}

// connect runs ServeConn on one end of a pipe and speaks to it on the other,
// up to and with the handshake.
func connect(t testing.TB, s *Server) *client {
	t.Helper()
	c := dial(t, s)
	c.shakeHands()
	return c
}

// dial leaves the handshake to the caller.
func dial(t testing.TB, s *Server) *client {
	ours, theirs := net.Pipe()
	c := &client{t: t, conn: ours, in: bufio.NewReader(ours), bytesPer: 4, end: make(chan error, 1)}
	go func() { c.end <- s.ServeConn(context.Background(), theirs) }()
	return c
}

// leave hangs up and returns how the server took it.
func (c *client) leave() error {
	_ = c.conn.Close()
	return <-c.end
}

func (c *client) shakeHands() {
	c.t.Helper()
	if got := string(c.read(12)); got != "RFB 003.008\n" {
		c.t.Fatalf("greeting %q", got)
	}
	c.send([]byte("RFB 003.008\n"))
	if got := string(c.read(2)); got != "\x01\x01" {
		c.t.Fatalf("security types % x", got)
	}
	c.send([]byte{1})
	if got := string(c.read(4)); got != "\x00\x00\x00\x00" {
		c.t.Fatalf("security result % x", got)
	}
	c.send([]byte{1})
	c.serverInit()
}

func (c *client) serverInit() rfb.ServerInit {
	c.t.Helper()
	init, err := rfb.ReadServerInit(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	c.resize(image.Pt(int(init.Width), int(init.Height)))
	return init
}

func (c *client) resize(size image.Point) {
	c.size = size
	c.picture = make([]byte, size.X*size.Y*c.bytesPer)
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		c.t.Fatalf("reading %d bytes: %v", n, err)
	}
	return b
}

func (c *client) u16() int { return int(binary.BigEndian.Uint16(c.read(2))) }
func (c *client) u32() int { return int(binary.BigEndian.Uint32(c.read(4))) }

// setFormat also fits the picture to it.
func (c *client) setFormat(f rfb.PixelFormat) {
	c.send(rfb.AppendSetPixelFormat(nil, f))
	c.bytesPer = int(f.BitsPerPixel) / 8
	c.resize(c.size)
}

func (c *client) setEncodings(list ...rfb.Encoding) { c.send(rfb.AppendSetEncodings(nil, list...)) }

func (c *client) press(keys ...uint32) {
	for _, k := range keys {
		c.send(rfb.KeyEvent{Down: true, Key: k}.Append(nil))
		c.send(rfb.KeyEvent{Key: k}.Append(nil))
	}
}

// ask requests the whole picture.
func (c *client) ask(incremental bool) {
	c.askFor(incremental, image.Rectangle{Max: c.size})
}

func (c *client) askFor(incremental bool, area image.Rectangle) {
	c.t.Helper()
	c.send(rfb.UpdateRequest{Incremental: incremental, Area: area}.Append(nil))
}

// refresh asks and waits for the update.
func (c *client) refresh(incremental bool) []image.Rectangle {
	c.t.Helper()
	c.ask(incremental)
	return c.update()
}

// update takes messages up to and with an update, whose rectangles it returns.
func (c *client) update() []image.Rectangle {
	c.t.Helper()
	for {
		if parts, ok := c.message(); ok {
			return parts
		}
	}
}

// message takes one message and tells whether it was an update.
func (c *client) message() (parts []image.Rectangle, update bool) {
	c.t.Helper()
	switch kind := c.read(1)[0]; kind {
	case rfb.ServerFramebufferUpdate:
		c.read(1)
		for range c.u16() {
			if part, pixels := c.rectangle(); pixels {
				parts = append(parts, part)
			}
		}
		return parts, true
	case rfb.ServerSetColourMapEntries:
		c.read(3)
		c.read(6 * c.u16())
		c.maps++
	case rfb.ServerBell:
		c.bells++
	case rfb.ServerCutText:
		c.read(3)
		c.texts = append(c.texts, string(c.read(c.u32())))
	default:
		c.t.Fatalf("server message %d", kind)
	}
	return nil, false
}

func (c *client) rectangle() (part image.Rectangle, pixels bool) {
	c.t.Helper()
	x, y, w, h := c.u16(), c.u16(), c.u16(), c.u16()
	part = image.Rect(x, y, x+w, y+h)
	switch encoding := rfb.Encoding(int32(c.u32())); encoding {
	case rfb.EncodingRaw:
		if !part.In(image.Rectangle{Max: c.size}) || part.Empty() {
			c.t.Fatalf("rectangle %v in a picture of %v", part, c.size)
		}
		for row := y; row < y+h; row++ {
			copy(c.picture[(row*c.size.X+x)*c.bytesPer:], c.read(w*c.bytesPer))
		}
		return part, true
	case rfb.EncodingZRLE:
		n := c.u32()
		c.read(n)
		c.zrle += n
		return part, true
	case rfb.EncodingDesktopSize:
		c.sizes = append(c.sizes, sizeTold{why: -1, size: image.Pt(w, h)})
		c.resize(image.Pt(w, h))
	case rfb.EncodingExtendedDesktopSize:
		c.sizes = append(c.sizes, sizeTold{why: x, status: y, size: image.Pt(w, h)})
		screens := int(c.read(4)[0])
		c.read(16 * screens)
		if size := image.Pt(w, h); y == 0 && size != c.size {
			c.resize(size)
		}
	default:
		c.t.Fatalf("rectangle %v in %v", part, encoding)
	}
	return part, false
}

// crop is the picture within area.
func (c *client) crop(area image.Rectangle) string {
	area = area.Intersect(image.Rectangle{Max: c.size})
	var b []byte
	for y := area.Min.Y; y < area.Max.Y; y++ {
		from := (y*c.size.X + area.Min.X) * c.bytesPer
		b = append(b, c.picture[from:from+area.Dx()*c.bytesPer]...)
	}
	return string(b)
}

// frame is the server's picture as a Raw client of RGB888 gets it.
func frame(t testing.TB, s *Server, area image.Rectangle) string {
	t.Helper()
	translator, err := rfb.NewTranslator(rfb.RGB888())
	if err != nil {
		t.Fatal(err)
	}
	s.desktop.mu.Lock()
	defer s.desktop.mu.Unlock()
	return string(translator.AppendRaw(nil, s.desktop.canvas.frame, area))
}

// typedArea is where the text area's rows are in a desktop of 400x300.
func typedArea() image.Rectangle { return image.Rect(20, 180, 380, 240) }

func small() *Server { return New(Options{Name: "small", Width: 400, Height: 300}) }
