package demo

import (
	"image"
	"image/color"
	"math"
	"time"
)

const notice = "This is the built-in demo. Install TigerVNC (apt install tigervnc-standalone-server) for a real desktop"

// orbit is how long the orb takes for one round.
const orbit = 24 * time.Second

func bright() color.RGBA { return color.RGBA{0xf2, 0xf5, 0xfa, 0xff} }
func soft() color.RGBA   { return color.RGBA{0xb9, 0xc7, 0xd9, 0xff} }
func amber() color.RGBA  { return color.RGBA{0xf2, 0xc8, 0x79, 0xff} }
func mint() color.RGBA   { return color.RGBA{0x9f, 0xe3, 0xc6, 0xff} }
func shade() color.RGBA  { return color.RGBA{0x07, 0x0b, 0x14, 0xc8} } // see-through

// pointerTint is the colour of the nth viewer's pointer.
func pointerTint(n int) color.RGBA {
	tints := [...]color.RGBA{
		{0x7f, 0xd1, 0xff, 0xff}, {0xff, 0x9e, 0x80, 0xff}, {0xa5, 0xe0, 0x75, 0xff},
		{0xf7, 0x8f, 0xd0, 0xff}, {0xff, 0xe0, 0x66, 0xff}, {0xb8, 0x9c, 0xff, 0xff},
	}
	return tints[n%len(tints)]
}

// scene adds to list what the desktop shows at now; mu is held.
//
//	title                    time
//	who looks                date
//	        the orb's lane
//	+- text area ---------------+
//	+---------------------------+
//	clipboard
//	notice
func (d *desktop) scene(list []layer, now time.Time) []layer {
	d.clock.set(now)
	screen := d.screen.Area
	margin := min(max(min(screen.Dx(), screen.Dy())/32, 6), 32)
	inner := screen.Inset(margin)
	brush := &d.canvas.brush
	line := brush.lineHeight(faceLabel)

	head := image.Rect(inner.Min.X, inner.Min.Y, inner.Max.X, inner.Min.Y+brush.lineHeight(faceClock)+line)
	list = d.header(list, head)

	footer := image.Rect(inner.Min.X, inner.Max.Y-2*line, inner.Max.X, inner.Max.Y)
	copied := "Clipboard: nothing copied yet"
	if d.clipboard != "" {
		copied = "Clipboard: " + d.clipboard
	}
	list = append(list,
		text(faceLabel, soft(), image.Rect(footer.Min.X, footer.Min.Y, footer.Max.X, footer.Min.Y+line), copied),
		text(faceLabel, amber(), image.Rect(footer.Min.X, footer.Max.Y-line, footer.Max.X, footer.Max.Y), notice),
	)

	middle := image.Rect(inner.Min.X, head.Max.Y, inner.Max.X, footer.Min.Y-margin/2)
	lane, panel := middle, middle
	lane.Max.Y = middle.Min.Y + middle.Dy()*2/5
	panel.Min.Y = lane.Max.Y
	list = append(list, orbAt(lane, now.Sub(d.started)))
	list = d.textArea(list, panel)

	for _, v := range d.viewers {
		if v.pointed {
			list = append(list, layer{
				kind: kindPointer, bounds: pointerBounds(v.pointer.At), tint: pointerTint(v.number), held: v.pointer.Buttons,
			})
		}
	}
	return list
}

func (d *desktop) header(list []layer, box image.Rectangle) []layer {
	brush := &d.canvas.brush
	title, line, digits := brush.lineHeight(faceTitle), brush.lineHeight(faceLabel), brush.lineHeight(faceClock)
	top := box.Min.Y
	// All digits are equally wide, so the time does not wander.
	clockLeft := box.Max.X - brush.width(faceClock, "00:00:00")
	dateLeft := box.Max.X - brush.width(faceLabel, d.clock.date)
	return append(list,
		text(faceTitle, bright(), image.Rect(box.Min.X, top, clockLeft, top+title), d.name),
		text(faceLabel, soft(), image.Rect(box.Min.X, top+title, clockLeft, top+title+line), d.audience),
		text(faceClock, bright(), image.Rect(clockLeft, top, box.Max.X, top+digits), d.clock.time),
		text(faceLabel, soft(), image.Rect(dateLeft, top+digits, box.Max.X, top+digits+line), d.clock.date),
	)
}

// textArea has the same number of layers whatever was typed, so that a line
// compares with itself.
func (d *desktop) textArea(list []layer, panel image.Rectangle) []layer {
	brush := &d.canvas.brush
	inside := panel.Inset(panelRadius)
	line := brush.lineHeight(faceMono)
	hint := "Type here. Everybody who looks at this desktop sees it."
	list = append(list,
		layer{kind: kindPanel, bounds: panel, tint: shade()},
		text(faceMono, soft(), image.Rect(inside.Min.X, inside.Min.Y, inside.Max.X, inside.Min.Y+line), hint),
	)
	inside.Min.Y += line
	if inside.Dy() < line {
		return list
	}
	letter := brush.width(faceMono, "0")
	count := inside.Dy() / line
	typed := d.terminal.view(inside.Dx()/letter, count)
	for i := range count {
		row := image.Rect(inside.Min.X, inside.Min.Y+i*line, inside.Max.X, inside.Min.Y+(i+1)*line)
		words := ""
		if i < len(typed) {
			words = typed[i]
		}
		list = append(list, text(faceMono, mint(), row, words))
	}
	last := typed[len(typed)-1]
	caret := image.Pt(inside.Min.X+brush.width(faceMono, last)+1, inside.Min.Y+(len(typed)-1)*line)
	return append(list, layer{kind: kindPanel, bounds: image.Rectangle{Min: caret, Max: caret.Add(image.Pt(letter, line))}.Intersect(panel), tint: amber()})
}

// orbAt moves on an ellipse, on which it never rests.
func orbAt(lane image.Rectangle, since time.Duration) layer {
	angle := 2 * math.Pi * float64(since%orbit) / float64(orbit)
	reach := lane.Inset(orbRadius)
	center := lane.Min.Add(lane.Max).Div(2)
	at := center.Add(image.Pt(
		int(float64(reach.Dx())/2*math.Cos(angle)),
		int(float64(max(reach.Dy(), orbRadius))/2*math.Sin(angle)),
	))
	return layer{kind: kindOrb, bounds: image.Rect(at.X-orbRadius, at.Y-orbRadius, at.X+orbRadius, at.Y+orbRadius)}
}

func text(f face, tint color.RGBA, box image.Rectangle, words string) layer {
	return layer{kind: kindText, bounds: box, face: f, tint: tint, text: words}
}

func (c *clock) set(now time.Time) {
	if second := now.Unix(); second != c.second {
		*c = clock{second: second, time: now.Format("15:04:05"), date: now.Format("Monday, 2 January 2006")}
	}
}
