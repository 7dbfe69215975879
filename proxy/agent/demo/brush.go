package demo

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// face is a font in a size.
type face uint8

const (
	faceTitle face = iota
	faceLabel
	faceClock
	faceMono
	faces
)

const (
	orbRadius    = 44
	panelRadius  = 12
	pointerWidth = 48 // with the marks of its buttons
)

// brush draws layers. It is not safe for concurrent use: font faces are not.
type brush struct {
	faces [faces]font.Face
	orb   *image.RGBA
	arrow arrow
}

func newBrush() brush {
	return brush{
		faces: [faces]font.Face{
			faceTitle: newFace(gobold.TTF, 26),
			faceLabel: newFace(goregular.TTF, 16),
			faceClock: newFace(goregular.TTF, 56),
			faceMono:  newFace(gomono.TTF, 16),
		},
		orb:   drawOrb(),
		arrow: newArrow(),
	}
}

// newFace makes a face of a font that is built in, which can't fail.
func newFace(ttf []byte, pixels float64) font.Face {
	parsed, err := opentype.Parse(ttf)
	if err != nil {
		panic("built-in font: " + err.Error())
	}
	f, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: pixels, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		panic("built-in font: " + err.Error())
	}
	return f
}

// lineHeight is the distance of two lines in pixels.
func (b *brush) lineHeight(f face) int { return b.faces[f].Metrics().Height.Ceil() }

func (b *brush) width(f face, text string) int { return font.MeasureString(b.faces[f], text).Ceil() }

// draw draws the part of l that lies within dst.
func (b *brush) draw(dst *image.RGBA, l layer) {
	switch l.kind {
	case kindPanel:
		drawPanel(dst, l.bounds, l.tint)
	case kindText:
		b.drawText(dst, l)
	case kindOrb:
		draw.Draw(dst, dst.Rect, b.orb, dst.Rect.Min.Sub(l.bounds.Min), draw.Over)
	case kindPointer:
		b.arrow.draw(dst, l)
	}
}

// drawText draws only the characters that dst can show: most repaints touch a
// few of a line, and characters are what costs.
func (b *brush) drawText(dst *image.RGBA, l layer) {
	f := b.faces[l.face]
	source := image.NewUniform(l.tint)
	dot := fixed.P(l.bounds.Min.X, l.bounds.Min.Y+f.Metrics().Ascent.Ceil())
	before := rune(-1)
	for _, r := range l.text {
		if before >= 0 {
			dot.X += f.Kern(before, r)
		}
		before = r
		advance, ok := f.GlyphAdvance(r)
		if !ok {
			continue
		}
		// A glyph may reach over its advance by a little.
		slack := advance / 2
		if dot.X-slack > fixed.I(dst.Rect.Max.X) {
			return
		}
		if dot.X+advance+slack >= fixed.I(dst.Rect.Min.X) {
			if at, mask, from, _, ok := f.Glyph(dot, r); ok {
				draw.DrawMask(dst, at, source, image.Point{}, mask, from, draw.Over)
			}
		}
		dot.X += advance
	}
}

// drawPanel fills box, but for its round corners.
func drawPanel(dst *image.RGBA, box image.Rectangle, tint color.RGBA) {
	source := image.NewUniform(tint)
	radius := min(panelRadius, box.Dx()/2, box.Dy()/2)
	for y := dst.Rect.Min.Y; y < dst.Rect.Max.Y; y++ {
		inset := 0
		if depth := min(y-box.Min.Y, box.Max.Y-1-y); depth < radius {
			up := float64(radius-depth) - 0.5
			inset = radius - int(math.Sqrt(float64(radius*radius)-up*up)+0.5)
		}
		row := image.Rect(box.Min.X+inset, y, box.Max.X-inset, y+1)
		draw.Draw(dst, row, source, image.Point{}, draw.Over)
	}
}

// drawOrb draws a disc that is lit from the upper left, in few colours so that
// it compresses well while it moves.
func drawOrb() *image.RGBA {
	const shades = 10
	light, dark := color.RGBA{0xff, 0xe0, 0x9e, 0xff}, color.RGBA{0xe0, 0x6c, 0x75, 0xff}
	orb := image.NewRGBA(image.Rect(0, 0, 2*orbRadius, 2*orbRadius))
	for y := range 2 * orbRadius {
		for x := range 2 * orbRadius {
			dx, dy := float64(x)+0.5-orbRadius, float64(y)+0.5-orbRadius
			cover := min(max(orbRadius-math.Hypot(dx, dy), 0), 1)
			away := math.Hypot(dx+orbRadius/3, dy+orbRadius/3) / (1.5 * orbRadius)
			shade := min(int(away*shades), shades-1)
			c := blend(light, dark, shade, shades-1)
			orb.SetRGBA(x, y, blend(color.RGBA{}, c, int(cover*255), 255))
		}
	}
	return orb
}
