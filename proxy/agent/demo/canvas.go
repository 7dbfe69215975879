package demo

import (
	"image"
	"image/color"
)

// layer is one thing in the picture. Two equal layers look the same, so what
// has to be painted anew is found by comparing.
type layer struct {
	kind   kind
	bounds image.Rectangle // nothing is drawn outside
	text   string
	face   face
	tint   color.RGBA // premultiplied
	held   uint16     // a pointer's buttons
}

type kind uint8

const (
	kindNothing kind = iota // holds a place in the order
	kindPanel               // a box with round corners
	kindText                // one line from the top left
	kindOrb
	kindPointer
)

// canvas holds the picture and paints what changed in it. It is not safe for
// concurrent use.
type canvas struct {
	frame  *image.RGBA
	shown  []layer // what frame shows
	other  []layer // the memory of the layers before those
	damage []image.Rectangle
	brush  brush
}

func newCanvas(size image.Point) *canvas {
	c := &canvas{brush: newBrush()}
	c.resize(size)
	return c
}

// resize makes a canvas of another size; what it showed is gone.
func (c *canvas) resize(size image.Point) {
	c.frame = image.NewRGBA(image.Rectangle{Max: size})
	c.shown = c.shown[:0]
	drawGradient(c.frame, c.frame.Rect)
}

// spare is memory for the layers of the next show.
func (c *canvas) spare() []layer { return c.other[:0] }

// show paints layers, the later over the earlier, and returns what changed.
// The result is valid until the next call.
func (c *canvas) show(layers []layer) (changed []image.Rectangle) {
	c.damage = c.damage[:0]
	for i := range max(len(layers), len(c.shown)) {
		var before, after layer
		if i < len(c.shown) {
			before = c.shown[i]
		}
		if i < len(layers) {
			after = layers[i]
		}
		if before != after {
			c.spoil(before.bounds)
			c.spoil(after.bounds)
		}
	}
	c.shown, c.other = layers, c.shown
	for _, area := range c.damage {
		c.repaint(area)
	}
	return c.damage
}

// spoil adds area to the damage. Areas that touch become one, so that nothing
// is painted twice.
func (c *canvas) spoil(area image.Rectangle) {
	area = area.Intersect(c.frame.Rect)
	if area.Empty() {
		return
	}
	for i := 0; i < len(c.damage); i++ {
		if c.damage[i].Overlaps(area) {
			area = area.Union(c.damage[i])
			last := len(c.damage) - 1
			c.damage[i] = c.damage[last]
			c.damage = c.damage[:last]
			i = -1
		}
	}
	c.damage = append(c.damage, area)
}

func (c *canvas) repaint(area image.Rectangle) {
	drawGradient(c.frame, area)
	for _, l := range c.shown {
		if visible := l.bounds.Intersect(area); !visible.Empty() {
			c.brush.draw(c.frame.SubImage(visible).(*image.RGBA), l)
		}
	}
}

// drawGradient fills area of a picture with its background, calm from top to
// bottom; rows of one colour compress to almost nothing.
func drawGradient(frame *image.RGBA, area image.Rectangle) {
	area = area.Intersect(frame.Rect)
	top, bottom := color.RGBA{0x1b, 0x24, 0x40, 0xff}, color.RGBA{0x3a, 0x6f, 0x86, 0xff}
	height := max(frame.Rect.Dy()-1, 1)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		c := blend(top, bottom, y, height)
		row := frame.Pix[frame.PixOffset(area.Min.X, y):][:4*area.Dx()]
		for ; len(row) >= 4; row = row[4:] {
			row[0], row[1], row[2], row[3] = c.R, c.G, c.B, c.A
		}
	}
}

// blend is the colour at part of whole on the way from a to b.
func blend(a, b color.RGBA, part, whole int) color.RGBA {
	mix := func(a, b uint8) uint8 { return uint8((int(a)*(whole-part) + int(b)*part) / whole) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), mix(a.A, b.A)}
}
