package demo

import (
	"context"
	"fmt"
	"image"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// writeAt is how many encoded bytes are collected before they are written.
const writeAt = 64 << 10

// write sends the client what it asked for until ctx ends or the connection
// fails. A client that does not read holds up this goroutine and nothing else.
func (v *viewer) write(ctx context.Context) error {
	frame := time.NewTimer(0)
	defer frame.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-v.wake:
		case <-frame.C:
		}
		u := v.compose(time.Now())
		if err := v.send(u); err != nil {
			return fmt.Errorf("writing to the viewer: %w", err)
		}
		frame.Stop()
		if u.again > 0 {
			frame.Reset(u.again)
		}
	}
}

// update is what compose decided to send, besides what it put into out.
type update struct {
	parts      []image.Rectangle
	encoding   rfb.Encoding
	translator *rfb.Translator
	again      time.Duration // when to look again if nobody calls; 0: not
}

// compose paints, and puts into out what can be sent at once.
func (v *viewer) compose(now time.Time) update {
	d := v.desktop
	d.mu.Lock()
	defer d.mu.Unlock()
	v.composeNews()
	if !v.waits {
		return update{}
	}
	d.paint(now)
	u := update{encoding: v.encoding, translator: v.translator, parts: v.parts[:0], again: d.untilNextFrame(now)}
	answer, resized := v.takeAnswer()
	if !resized {
		u.parts = v.changed.take(u.parts, v.area)
		v.parts = u.parts
	}
	rectangles := len(u.parts)
	if answer != nil {
		rectangles++
	}
	if rectangles == 0 {
		return u
	}
	v.waits, u.again = false, 0
	v.out = rfb.AppendFramebufferUpdate(v.out, rectangles)
	if answer != nil {
		v.out = v.appendSize(v.out, *answer)
	}
	if resized {
		// Nothing of the new picture is known to the client, and the area that
		// it asked for was one of the old.
		v.size, v.area = d.screen.Area.Max, d.screen.Area
		v.changed.reset(v.size)
	}
	return u
}

// composeNews adds the messages that need no request.
func (v *viewer) composeNews() {
	if v.colourMap {
		v.out, v.colourMap = rfb.AppendColourMap(v.out), false
	}
	if v.bell {
		v.out, v.bell = rfb.AppendBell(v.out), false
	}
	if v.hasCutText {
		v.out = rfb.AppendServerCutText(v.out, v.cutText)
		v.cutText, v.hasCutText = nil, false
	}
}

// takeAnswer returns what to say about the size, if anything, and whether the
// size is another than the client knows.
func (v *viewer) takeAnswer() (answer *sizeAnswer, resized bool) {
	answer, v.answer = v.answer, nil
	if answer == nil {
		return nil, false
	}
	resized = v.size != v.desktop.screen.Area.Max
	if v.resizable == 0 || v.resizable == rfb.EncodingDesktopSize && !resized {
		return nil, false
	}
	return answer, resized
}

func (v *viewer) appendSize(b []byte, a sizeAnswer) []byte {
	screen := v.desktop.screen
	if v.resizable == rfb.EncodingDesktopSize {
		return rfb.AppendRectangle(b, screen.Area, rfb.EncodingDesktopSize)
	}
	return rfb.AppendExtendedDesktopSize(b, a.why, a.status, screen.Area.Max, screen)
}

// send encodes the parts and writes everything. Only the copy of a part is
// made under the lock: neither encoding nor a slow client stops the others.
func (v *viewer) send(u update) error {
	for _, part := range u.parts {
		picture := v.snapshot(part)
		v.out = rfb.AppendRectangle(v.out, part, u.encoding)
		if u.encoding == rfb.EncodingZRLE {
			if v.zrle == nil {
				v.zrle = rfb.NewZRLE()
			}
			v.out = v.zrle.AppendRect(v.out, u.translator, picture, part)
		} else {
			v.out = u.translator.AppendRaw(v.out, picture, part)
		}
		if len(v.out) >= writeAt {
			if err := v.flush(); err != nil {
				return err
			}
		}
	}
	return v.flush()
}

func (v *viewer) flush() error {
	if len(v.out) == 0 {
		return nil
	}
	_, err := v.conn.Write(v.out)
	v.out = v.out[:0]
	return err
}

// snapshot copies part of the picture into scratch. Where the desktop has
// become smaller than this client was told, it is black.
func (v *viewer) snapshot(part image.Rectangle) *image.RGBA {
	stride := 4 * part.Dx()
	size := stride * part.Dy()
	if cap(v.scratch) < size {
		v.scratch = make([]byte, size)
	}
	picture := &image.RGBA{Pix: v.scratch[:size], Stride: stride, Rect: part}

	v.desktop.mu.Lock()
	defer v.desktop.mu.Unlock()
	frame := v.desktop.canvas.frame
	known := part.Intersect(frame.Rect)
	if known != part {
		clear(picture.Pix)
	}
	for y := known.Min.Y; y < known.Max.Y; y++ {
		to, from := picture.PixOffset(known.Min.X, y), frame.PixOffset(known.Min.X, y)
		copy(picture.Pix[to:to+4*known.Dx()], frame.Pix[from:])
	}
	return picture
}
