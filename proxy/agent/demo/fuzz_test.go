package demo

import (
	"image"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// FuzzViewer lets a client say anything after its handshake. Whatever is not a
// fault of the protocol must leave a desktop that can still be sent.
func FuzzViewer(f *testing.F) {
	ask := rfb.UpdateRequest{Area: image.Rect(10, 20, 90, 100)}.Append(nil)
	size := rfb.SetDesktopSize{Width: 90, Height: 70, Screens: []rfb.Screen{{Area: image.Rect(0, 0, 90, 70)}}}
	f.Add(append(rfb.AppendSetPixelFormat(nil, rfb.BGR233()), ask...))
	f.Add(append(rfb.AppendSetEncodings(nil, rfb.EncodingZRLE, rfb.EncodingExtendedDesktopSize), ask...))
	f.Add(append(size.Append(rfb.AppendSetEncodings(nil, rfb.EncodingDesktopSize)), ask...))
	f.Add(append(rfb.KeyEvent{Down: true, Key: 'x'}.Append(nil), ask...))
	f.Add(append(rfb.PointerEvent{Buttons: 7, At: image.Pt(99, 99)}.Append(nil), ask...))
	f.Add(append(rfb.AppendCutText(nil, []byte("copied")), ask...))
	f.Fuzz(func(t *testing.T, said []byte) {
		d := newDesktop("fuzz", "host", image.Pt(100, 100))
		v := d.join(&sink{})
		if err := v.scan(said); err != nil {
			return
		}
		v.request(rfb.UpdateRequest{Area: image.Rect(0, 0, 65535, 65535)})
		for range 2 { // the first may only tell a new size
			if err := v.send(v.compose(d.started)); err != nil {
				t.Fatal(err)
			}
			v.request(rfb.UpdateRequest{Area: d.screen.Area})
		}
		if v.size != d.screen.Area.Max && v.resizable != 0 {
			t.Errorf("the viewer knows %v, the desktop is %v", v.size, d.screen.Area.Max)
		}
	})
}
