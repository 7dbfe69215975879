package demo

import "image"

// tile is the grain in which changes are noted, in pixels both ways. It is
// ZRLE's, so that no rectangle has more tiles than it needs.
const tile = 64

// region is what of a picture has changed since it was last sent. Its memory
// depends on the picture's size alone.
type region struct {
	bounds image.Rectangle
	cols   int
	tiles  []bool // row by row
}

// reset is for a picture of which nothing has been sent.
func (r *region) reset(size image.Point) {
	r.bounds = image.Rectangle{Max: size}
	r.cols = (size.X + tile - 1) / tile
	r.tiles = make([]bool, r.cols*((size.Y+tile-1)/tile))
	r.mark(r.bounds)
}

func (r *region) mark(changed image.Rectangle) {
	r.each(changed, func(i int) { r.tiles[i] = true })
}

// take adds the changed parts of area to list, at most one tile high, and
// forgets them. It also forgets what lies outside of area in the same tiles:
// whoever asks for another area must mark it first.
func (r *region) take(list []image.Rectangle, area image.Rectangle) []image.Rectangle {
	area = area.Intersect(r.bounds)
	before := len(list)
	r.each(area, func(i int) {
		if !r.tiles[i] {
			return
		}
		r.tiles[i] = false
		at := image.Pt(i%r.cols*tile, i/r.cols*tile)
		part := image.Rectangle{Min: at, Max: at.Add(image.Pt(tile, tile))}.Intersect(area)
		if n := len(list); n > before && list[n-1].Max.X == part.Min.X && list[n-1].Min.Y == part.Min.Y {
			list[n-1].Max.X = part.Max.X
			return
		}
		list = append(list, part)
	})
	return list
}

func (r *region) each(area image.Rectangle, visit func(tile int)) {
	area = area.Intersect(r.bounds)
	if area.Empty() {
		return
	}
	for row := area.Min.Y / tile; row <= (area.Max.Y-1)/tile; row++ {
		for col := area.Min.X / tile; col <= (area.Max.X-1)/tile; col++ {
			visit(row*r.cols + col)
		}
	}
}
