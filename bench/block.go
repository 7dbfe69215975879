package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"
)

// What the VNC server sends after its ServerInit: FramebufferUpdates (RFC 6143
// section 7.6.1) of one rectangle each, whose encoding says its length, so that
// updates of any size have a valid form. The rectangle's place holds the
// update's number, its size the time at which it was sent, and the message's
// padding a sum of the head, since nobody can know the time beforehand. The pixels
// are a stretch of a pseudo-random block, each the one behind the last, so both ends
// know every byte of the stream.

const (
	updateHead  = 20      // bytes: message 4, rectangle 12, length of the pixels 4
	blockSize   = 1 << 20 // bytes, then it begins anew
	largest     = 64 << 10
	zrle        = 16 // the encoding whose length is written in front
	strideOfOne = 7919 * 64
)

// block is the pixels; the first bytes come again at its end, so that a stretch
// never wraps.
type block []byte

func newBlock(seed uint64) block {
	b := make([]byte, blockSize+largest)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(seed >> 32), byte(seed >> 40), byte(seed >> 48), byte(seed >> 56)})
	_, _ = source.Read(b[:blockSize]) // never fails
	copy(b[blockSize:], b[:largest])
	return b
}

// start is where in the block a connection begins: each elsewhere, so that
// bytes of another connection are wrong bytes.
func start(connection uint32) int { return int(uint64(connection) * strideOfOne % blockSize) }

// stretch is the next n pixels at *at, n <= largest; it moves *at behind them.
func (b block) stretch(at *int, n int) []byte {
	p := b[*at : *at+n]
	*at = (*at + n) % blockSize
	return p
}

// now is the time as updates carry it: microseconds that wrap every 71 minutes.
func now() uint32 { return uint32(time.Now().UnixMicro()) }

func appendUpdateHead(b []byte, number, sent uint32, pixels int) []byte {
	begin := len(b)
	b = append(b, 0, 0, 0, 1)
	b = binary.BigEndian.AppendUint32(b, number)
	b = binary.BigEndian.AppendUint32(b, sent)
	b = binary.BigEndian.AppendUint32(b, zrle)
	b = binary.BigEndian.AppendUint32(b, uint32(pixels))
	b[begin+1] = headSum(b[begin:])
	return b
}

// headSum differs when one byte does: the factor is odd, so no power of it loses
// any of a byte's bits.
func headSum(head []byte) (sum byte) {
	for _, c := range head {
		sum = sum*31 + c
	}
	return sum
}

// lastUpdate is the number of the update that ends a connection's traffic.
const lastUpdate = 0xFFFFFFFF

// checker compares a viewer's stream, cut anywhere, with what the server must
// have sent.
type checker struct {
	block    block
	at       int    // in the block
	position int64  // in the stream, counted from behind the ServerInit
	number   uint32 // of the next update
	head     [updateHead]byte
	have     int
	left     int // pixels of the update
	sent     uint32

	// update is called at the end of each update; it may be nil.
	update func(number, sent uint32, size int)
	ended  bool
}

// check takes what came next.
func (c *checker) check(p []byte) error {
	for len(p) > 0 {
		if c.ended {
			return fmt.Errorf("byte %d: %d bytes came behind the last update", c.position, len(p))
		}
		if c.have < updateHead {
			n := copy(c.head[c.have:], p)
			c.have += n
			c.position += int64(n)
			p = p[n:]
			if c.have < updateHead {
				return nil
			}
			if err := c.readHead(); err != nil {
				return err
			}
		} else {
			n := min(len(p), c.left)
			if err := c.compare(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		if c.left == 0 {
			c.endUpdate()
		}
	}
	return nil
}

func (c *checker) readHead() error {
	number := binary.BigEndian.Uint32(c.head[4:])
	c.sent = binary.BigEndian.Uint32(c.head[8:])
	c.left = int(binary.BigEndian.Uint32(c.head[16:]))
	want := appendUpdateHead(make([]byte, 0, updateHead), number, c.sent, c.left)
	at := c.position - updateHead
	switch {
	case !bytes.Equal(want, c.head[:]):
		return fmt.Errorf("byte %d: no update begins here: % x", at, c.head)
	case number != c.number && number != lastUpdate:
		return fmt.Errorf("byte %d: update %d came where %d was expected", at, number, c.number)
	case c.left > largest:
		return fmt.Errorf("byte %d: update %d says it has %d bytes, %d at most were sent", at, number, c.left, largest)
	}
	return nil
}

func (c *checker) compare(p []byte) error {
	if want := c.block[c.at : c.at+len(p)]; !bytes.Equal(p, want) {
		i := 0
		for p[i] == want[i] {
			i++
		}
		return fmt.Errorf("byte %d, in update %d: %#02x came where %#02x was sent", c.position+int64(i), c.number, p[i], want[i])
	}
	c.at = (c.at + len(p)) % blockSize
	c.position += int64(len(p))
	c.left -= len(p)
	return nil
}

func (c *checker) endUpdate() {
	number := binary.BigEndian.Uint32(c.head[4:])
	c.have = 0
	if number == lastUpdate {
		c.ended = true
		return
	}
	c.number++
	if c.update != nil {
		c.update(number, c.sent, int(binary.BigEndian.Uint32(c.head[16:]))+updateHead)
	}
}
