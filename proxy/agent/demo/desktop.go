package demo

import (
	"fmt"
	"image"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// frameEvery is how often the picture moves.
const frameEvery = 100 * time.Millisecond

// maxClipboard is how much of a clipboard is kept and passed on, in bytes.
const maxClipboard = 64 << 10

// desktop is what all viewers share. They change it, and whoever sends an
// update first paints what was changed.
type desktop struct {
	name, host string
	started    time.Time

	mu        sync.Mutex // guards all below, and the viewers' fields that say so
	screen    rfb.Screen
	viewers   []*viewer // in the order in which they came
	joined    int       // ever
	audience  string    // who looks, in words
	terminal  terminal
	clipboard string // as it is shown
	clock     clock
	canvas    *canvas
}

// clock is the time in words, made once a second.
type clock struct {
	second     int64
	time, date string
}

func newDesktop(name, host string, size image.Point) *desktop {
	d := &desktop{
		name: name, host: host, started: time.Now(),
		screen: rfb.Screen{Area: image.Rectangle{Max: size}},
		canvas: newCanvas(size),
	}
	d.countAudience()
	return d
}

// fittingSize is the size nearest to the one asked for that a desktop can have.
func fittingSize(width, height int) image.Point {
	fit := func(side, usual int) int {
		if side == 0 {
			return usual
		}
		return min(max(side, minSide), maxSide)
	}
	width, height = fit(width, 1280), fit(height, 800)
	if over := float64(width*height) / maxPixels; over > 1 {
		shrink := math.Sqrt(over)
		width, height = int(float64(width)/shrink), int(float64(height)/shrink)
	}
	return image.Pt(width, height)
}

func (d *desktop) serverInit() rfb.ServerInit {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.screen.Area.Max
	return rfb.ServerInit{Width: uint16(size.X), Height: uint16(size.Y), Format: rfb.RGB888(), Name: d.name}
}

func (d *desktop) join(conn net.Conn) *viewer {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := newViewer(conn, d, d.joined)
	d.joined++
	d.viewers = append(d.viewers, v)
	d.countAudience()
	d.wakeAll()
	return v
}

func (d *desktop) leave(v *viewer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.viewers = slices.DeleteFunc(d.viewers, func(other *viewer) bool { return other == v })
	d.countAudience()
	d.wakeAll()
}

func (d *desktop) countAudience() {
	switch n := len(d.viewers); n {
	case 1:
		d.audience = fmt.Sprintf("on %s, 1 viewer", d.host)
	default:
		d.audience = fmt.Sprintf("on %s, %d viewers", d.host, n)
	}
}

// wakeAll lets the writers see what changed; mu is held.
func (d *desktop) wakeAll() {
	for _, v := range d.viewers {
		v.wakeUp()
	}
}

// typeRune types into the text area; a '\b' with nothing to erase rings the
// typist's bell.
func (d *desktop) typeRune(by *viewer, r rune) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case r != '\b':
		d.terminal.typeRune(r)
	case !d.terminal.erase():
		by.bell = true
	}
	d.wakeAll()
}

func (d *desktop) movePointer(v *viewer, p rfb.PointerEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v.pointer, v.pointed = p, true
	d.wakeAll()
}

// copyText shows text, which is Latin-1, and passes it on to the other viewers.
func (d *desktop) copyText(by *viewer, text []byte) {
	text = slices.Clone(text[:min(len(text), maxClipboard)])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clipboard = describe(text)
	for _, v := range d.viewers {
		if v != by {
			v.cutText, v.hasCutText = text, true
		}
	}
	d.wakeAll()
}

// describe makes one line of the first characters of a Latin-1 text.
func describe(text []byte) string {
	const most = 200
	var line strings.Builder
	for _, c := range text[:min(len(text), most)] {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			c = ' '
		}
		line.WriteRune(rune(c))
	}
	if len(text) > most {
		line.WriteRune('…')
	}
	return line.String()
}

// resize gives the desktop the size and layout that a viewer asked for, and
// tells all viewers who can be told.
func (d *desktop) resize(by *viewer, s rfb.SetDesktopSize) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := image.Pt(int(s.Width), int(s.Height))
	status := rfb.ResizeOK
	switch {
	case size.X > maxSide || size.Y > maxSide || size.X*size.Y > maxPixels:
		status = rfb.ResizeOutOfResources
	case size.X < minSide || size.Y < minSide:
		status = rfb.ResizeInvalidLayout
	case len(s.Screens) != 1 || s.Screens[0].Area != image.Rectangle{Max: size}:
		status = rfb.ResizeInvalidLayout
	}
	if status == rfb.ResizeOK {
		if size != d.screen.Area.Max {
			d.canvas.resize(size)
		}
		d.screen = s.Screens[0]
		for _, v := range d.viewers {
			v.tellSize(rfb.ResizedByOther, rfb.ResizeOK)
			v.changed.mark(v.changed.bounds)
		}
	}
	by.tellSize(rfb.ResizedByClient, status)
	d.wakeAll()
}

// paint brings the canvas up to date and notes for every viewer what changed;
// mu is held.
func (d *desktop) paint(now time.Time) {
	for _, changed := range d.canvas.show(d.scene(d.canvas.spare(), now)) {
		for _, v := range d.viewers {
			v.changed.mark(changed)
		}
	}
}

// untilNextFrame is how long after now the picture moves.
func (d *desktop) untilNextFrame(now time.Time) time.Duration {
	return frameEvery - now.Sub(d.started)%frameEvery
}
