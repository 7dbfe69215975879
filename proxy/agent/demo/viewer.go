package demo

import (
	"errors"
	"fmt"
	"image"
	"io"
	"net"
	"slices"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

const (
	readBuffer = 4 << 10

	// maxMessage is how much of a message is looked at, in bytes; the rest of
	// a longer one is skipped. More encodings or text than fit have no use here.
	maxMessage = 8 + maxClipboard
)

// viewer is one connected client: a reader, which ServeConn runs, and a writer.
type viewer struct {
	conn    net.Conn
	desktop *desktop
	number  int           // of all that ever joined; gives the pointer's colour
	wake    chan struct{} // something changed for the writer; holds one

	// The reader's.
	scanner   rfb.Scanner
	message   []byte // of the current message, up to maxMessage
	keyboard  keyboard
	encodings []rfb.Encoding

	// Guarded by desktop.mu.
	translator *rfb.Translator
	encoding   rfb.Encoding    // Raw or ZRLE
	resizable  rfb.Encoding    // DesktopSize, ExtendedDesktopSize, or 0: can't be told of a new size
	size       image.Point     // as the client knows it
	answer     *sizeAnswer     // the size is to be told; nil: it is not
	waits      bool            // an update was asked for and not yet sent
	area       image.Rectangle // of the last request
	changed    region
	colourMap  bool // is to be sent
	bell       bool // is to be rung
	cutText    []byte
	hasCutText bool // cutText is to be sent
	pointer    rfb.PointerEvent
	pointed    bool // pointer is known

	// The writer's.
	out     []byte
	zrle    *rfb.ZRLE // nil until it is needed
	parts   []image.Rectangle
	scratch []byte
}

// sizeAnswer is why the size is told. A client that asks for many sizes without
// reading gets the last answer only.
type sizeAnswer struct {
	why    rfb.ResizeReason
	status rfb.ResizeStatus
}

// newViewer needs desktop.mu.
func newViewer(conn net.Conn, d *desktop, number int) *viewer {
	v := &viewer{
		conn: conn, desktop: d, number: number, wake: make(chan struct{}, 1),
		encoding: rfb.EncodingRaw, size: d.screen.Area.Max,
	}
	v.translator, _ = rfb.NewTranslator(rfb.RGB888()) // fails only for an impossible format
	v.changed.reset(v.size)
	return v
}

func (v *viewer) wakeUp() {
	select {
	case v.wake <- struct{}{}:
	default: // the writer will look anyway
	}
}

// read acts on the client's messages until the connection ends.
func (v *viewer) read() error {
	buffer := make([]byte, readBuffer)
	for {
		n, err := v.conn.Read(buffer)
		if err := v.scan(buffer[:n]); err != nil {
			return err
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && v.scanner.Between():
			return errLeft
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the viewer left in the middle of a message: %w", io.ErrUnexpectedEOF)
		default:
			return fmt.Errorf("reading from the viewer: %w", err)
		}
	}
}

func (v *viewer) scan(p []byte) error {
	for len(p) > 0 {
		part, err := v.scanner.Next(p)
		if err != nil {
			return err
		}
		p = p[len(part.Data):]
		if part.Offset == 0 {
			v.message = v.message[:0]
		}
		v.message = append(v.message, part.Data[:min(len(part.Data), maxMessage-len(v.message))]...)
		if !part.Last() {
			continue
		}
		if err := v.handle(part.Kind, v.message); err != nil {
			return err
		}
	}
	return nil
}

func (v *viewer) handle(kind rfb.Kind, message []byte) error {
	switch kind {
	case rfb.KindSetPixelFormat:
		format, err := rfb.ParseSetPixelFormat(message)
		if err != nil {
			return err
		}
		return v.setFormat(format)
	case rfb.KindSetEncodings:
		list, err := rfb.ParseSetEncodings(v.encodings[:0], message)
		if err != nil {
			return err
		}
		v.encodings = list
		v.setEncodings(list)
	case rfb.KindUpdateRequest:
		request, err := rfb.ParseUpdateRequest(message)
		if err != nil {
			return err
		}
		v.request(request)
	case rfb.KindKeyEvent:
		key, err := rfb.ParseKeyEvent(message)
		if err != nil {
			return err
		}
		v.key(key)
	case rfb.KindPointerEvent:
		pointer, err := rfb.ParsePointerEvent(message)
		if err != nil {
			return err
		}
		v.desktop.movePointer(v, pointer)
	case rfb.KindCutText:
		text, err := rfb.ParseCutText(message)
		if err != nil {
			return err
		}
		if !text.Extended { // which only a server that announced it has to understand
			v.desktop.copyText(v, text.Text)
		}
	case rfb.KindSetDesktopSize:
		size, err := rfb.ParseSetDesktopSize(message)
		if err != nil {
			return err
		}
		v.desktop.resize(v, size)
	}
	// The rest belong to extensions that are not announced; a client that uses
	// them all the same gets no answer.
	return nil
}

func (v *viewer) key(k rfb.KeyEvent) {
	if !k.Down {
		v.keyboard.release(k.Key)
		return
	}
	if r, ok := v.keyboard.press(k.Key); ok {
		v.desktop.typeRune(v, r)
	}
}

func (v *viewer) setFormat(f rfb.PixelFormat) error {
	translator, err := rfb.NewTranslator(f)
	if err != nil {
		return err
	}
	v.desktop.mu.Lock()
	defer v.desktop.mu.Unlock()
	v.translator = translator
	v.colourMap = !f.TrueColour
	v.wakeUp()
	return nil
}

func (v *viewer) setEncodings(list []rfb.Encoding) {
	v.desktop.mu.Lock()
	defer v.desktop.mu.Unlock()
	v.encoding = rfb.EncodingRaw
	for _, e := range list {
		if e == rfb.EncodingRaw || e == rfb.EncodingZRLE {
			v.encoding = e
			break
		}
	}
	could := v.resizable
	switch {
	case slices.Contains(list, rfb.EncodingExtendedDesktopSize):
		v.resizable = rfb.EncodingExtendedDesktopSize
	case slices.Contains(list, rfb.EncodingDesktopSize):
		v.resizable = rfb.EncodingDesktopSize
	default:
		v.resizable = 0
	}
	// The first ExtendedDesktopSize tells the client that it may ask for a
	// size; and while it could not be told, the size may have changed.
	if v.resizable != could {
		v.tellSize(rfb.ResizedByServer, rfb.ResizeOK)
	}
	v.wakeUp()
}

// tellSize lets the next update begin with the desktop's size; desktop.mu is held.
func (v *viewer) tellSize(why rfb.ResizeReason, status rfb.ResizeStatus) {
	if v.resizable == 0 || status != rfb.ResizeOK && v.size != v.desktop.screen.Area.Max {
		return // a client that is about to learn of another size can't also learn that there is none
	}
	v.answer = &sizeAnswer{why: why, status: status}
}

func (v *viewer) request(r rfb.UpdateRequest) {
	v.desktop.mu.Lock()
	defer v.desktop.mu.Unlock()
	area := r.Area
	if v.waits {
		area = area.Union(v.area)
	}
	if !r.Incremental {
		v.changed.mark(r.Area)
		if v.answer == nil && v.resizable == rfb.EncodingExtendedDesktopSize {
			v.tellSize(rfb.ResizedByServer, rfb.ResizeOK)
		}
	}
	if !area.In(v.area) {
		v.changed.mark(area)
	}
	v.area, v.waits = area, true
	v.wakeUp()
}
