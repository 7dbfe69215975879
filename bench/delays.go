package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const slowestDelay = time.Minute // longer ones count as this

// delays are times in nanoseconds, to three figures. As text they are what
// other HdrHistogram programs read too: its format V2, compressed, in base64.
type delays struct{ *hdrhistogram.Histogram }

func newDelays() *delays {
	return &delays{hdrhistogram.New(int64(time.Microsecond), int64(slowestDelay), 3)}
}

func (d *delays) add(delay time.Duration) {
	_ = d.RecordValue(int64(min(max(delay, 0), slowestDelay))) // in range, so it never fails
}

// MarshalText implements encoding.TextMarshaler.
func (d *delays) MarshalText() ([]byte, error) {
	return d.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *delays) UnmarshalText(text []byte) (err error) {
	d.Histogram, err = hdrhistogram.Decode(text)
	return err
}
