package demo

import (
	"image"
	"image/color"
)

// arrow is the shape of a pointer: 'X' its outline, '.' its colour.
type arrow [19]string

func newArrow() arrow {
	return arrow{
		"X           ",
		"XX          ",
		"X.X         ",
		"X..X        ",
		"X...X       ",
		"X....X      ",
		"X.....X     ",
		"X......X    ",
		"X.......X   ",
		"X........X  ",
		"X.........X ",
		"X......XXXXX",
		"X...X..X    ",
		"X..XX..X    ",
		"X.X  X..X   ",
		"XX   X..X   ",
		"X     X..X  ",
		"      X..X  ",
		"       XX   ",
	}
}

const (
	buttonMarks = 3 // left, middle, right
	buttonSize  = 8
)

// pointerBounds is what a pointer at p covers.
func pointerBounds(p image.Point) image.Rectangle {
	return image.Rectangle{Min: p, Max: p.Add(image.Pt(pointerWidth, len(arrow{})))}
}

// draw draws the pointer, and beside it a mark for each button, filled while
// the button is down.
func (a arrow) draw(dst *image.RGBA, l layer) {
	outline := color.RGBA{0x10, 0x14, 0x20, 0xff}
	for y, row := range a {
		for x, c := range row {
			switch c {
			case 'X':
				dot(dst, l.bounds.Min.Add(image.Pt(x, y)), outline)
			case '.':
				dot(dst, l.bounds.Min.Add(image.Pt(x, y)), l.tint)
			}
		}
	}
	corner := l.bounds.Min.Add(image.Pt(16, 6))
	for button := range buttonMarks {
		box := image.Rectangle{Max: image.Pt(buttonSize, buttonSize)}.Add(corner.Add(image.Pt(button*(buttonSize+2), 0)))
		down := l.held&(1<<button) != 0
		for y := box.Min.Y; y < box.Max.Y; y++ {
			for x := box.Min.X; x < box.Max.X; x++ {
				p := image.Pt(x, y)
				switch {
				case !p.In(box.Inset(1)):
					dot(dst, p, outline)
				case down || !p.In(box.Inset(2)):
					dot(dst, p, l.tint)
				}
			}
		}
	}
}

// dot sets one pixel; one that dst does not have is left out.
func dot(dst *image.RGBA, p image.Point, c color.RGBA) { dst.SetRGBA(p.X, p.Y, c) }
