package bench

import (
	"math"
	"math/rand/v2"
	"time"
)

// The kinds of work a relay is measured at.
const (
	workBulk    = "bulk"    // few viewers, the server sends as fast as it can
	workEcho    = "echo"    // each input is answered by a small update
	workDesktop = "desktop" // updates of real sizes in bursts, with pauses
	workIdle    = "idle"    // nothing moves
	workStorm   = "storm"   // viewers come, say hello and go
	workHold    = "hold"    // very many viewers, with a little traffic each
)

const (
	bulkPixels = largest - updateHead // bytes an update
	echoPixels = 480                  // bytes an update: a letter and a cursor
	echoPause  = 20 * time.Millisecond
)

// desktopModel is the rhythm of one desktop: bursts of updates while something
// changes, as far apart as a screen's frames, and pauses in between that bring
// the whole down to the desktop's rate. The same seed gives the same rhythm.
type desktopModel struct {
	random *rand.Rand
	rate   float64 // bytes a second, on average
	left   int     // updates of the burst
	debt   float64 // bytes sent beyond the rate
}

// rates bounds the bytes a second of desktops, which are spread over them
// evenly by magnitude.
type rates struct{ Low, High float64 }

const (
	smallestPixels = 200
	largestPixels  = 20_000
	medianPixels   = 1_400 // a few lines of text; the mean is about 2.3 KB
	spreadPixels   = 1.0   // sigma of the logarithm
	meanBurst      = 8     // updates
	frameLow       = 16 * time.Millisecond
	frameHigh      = 50 * time.Millisecond
)

func newDesktopModel(seed uint64, connection uint32, r rates) *desktopModel {
	random := rand.New(rand.NewPCG(seed, uint64(connection)))
	m := &desktopModel{random: random, rate: r.Low * math.Pow(r.High/r.Low, random.Float64())}
	m.debt = m.rate * random.Float64() // desktops do not begin all at once
	return m
}

// next tells how long to wait, and how many bytes of pixels to send then.
func (m *desktopModel) next() (pause time.Duration, pixels int) {
	if m.left > 0 {
		m.left--
		pause = frameLow + time.Duration(m.random.Int64N(int64(frameHigh-frameLow)))
	} else {
		m.left = int(m.random.ExpFloat64() * (meanBurst - 1))
		catchUp := max(m.debt, 0) / m.rate // seconds
		pause = frameLow + time.Duration(catchUp*(0.5+m.random.Float64())*float64(time.Second))
	}
	size := medianPixels * math.Exp(spreadPixels*m.random.NormFloat64())
	pixels = int(min(max(size, smallestPixels), largestPixels))
	m.debt += float64(pixels+updateHead) - m.rate*pause.Seconds()
	return pause, pixels
}

// inputModel is what a person does meanwhile: the pointer moves for a while,
// now and then a key, and rests.
type inputModel struct {
	random *rand.Rand
	left   int
}

func newInputModel(seed uint64, viewer int) *inputModel {
	return &inputModel{random: rand.New(rand.NewPCG(seed+1, uint64(viewer)))}
}

func (m *inputModel) next() (pause time.Duration, key bool) {
	if m.left > 0 {
		m.left--
		return 30*time.Millisecond + time.Duration(m.random.Int64N(int64(20*time.Millisecond))), false
	}
	m.left = m.random.IntN(20)
	return time.Duration((0.5 + m.random.ExpFloat64()*4) * float64(time.Second)), m.random.IntN(3) == 0
}
