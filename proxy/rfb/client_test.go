package rfb

import (
	"bytes"
	"image"
	"io"
	"reflect"
	"strings"
	"testing"
)

// messages has one of each kind, as a client writes it.
func messages() map[string][]byte {
	return map[string][]byte{
		"SetPixelFormat":  AppendSetPixelFormat(nil, RGB888()),
		"SetEncodings":    AppendSetEncodings(nil, EncodingZRLE, EncodingRaw, EncodingExtendedDesktopSize),
		"no encodings":    AppendSetEncodings(nil),
		"update request":  UpdateRequest{Incremental: true, Area: image.Rect(1, 2, 300, 400)}.Append(nil),
		"key":             KeyEvent{Down: true, Key: 0xff0d}.Append(nil),
		"pointer":         PointerEvent{Buttons: 0x85, At: image.Pt(10, 20)}.Append(nil),
		"cut text":        AppendCutText(nil, []byte("gr\xfc\xdfe")),
		"empty cut text":  AppendCutText(nil, nil),
		"extended":        {6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc, 0x02, 0, 0, 1},
		"continuous":      {150, 1, 0, 0, 0, 0, 5, 0, 3, 0x20},
		"fence":           {248, 0, 0, 0, 0x80, 0, 0, 1, 3, 'a', 'b', 'c'},
		"empty fence":     {248, 0, 0, 0, 0, 0, 0, 0, 0},
		"xvp":             {250, 0, 1, 2},
		"SetDesktopSize":  SetDesktopSize{Width: 640, Height: 480, Screens: []Screen{{ID: 7, Area: image.Rect(0, 0, 640, 480), Flags: 9}}}.Append(nil),
		"no screens":      SetDesktopSize{Width: 640, Height: 480}.Append(nil),
		"gii version":     {253, 0x81, 0, 2, 0, 1},
		"gii, little":     {253, 1, 2, 0, 1, 0},
		"QEMU key":        {255, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 30},
		"QEMU audio":      {255, 1, 0, 0},
		"QEMU audio form": {255, 1, 0, 2, 3, 2, 0, 0, 0xac, 0x44},
	}
}

func TestMessagesKeepTheirFields(t *testing.T) {
	m := messages()
	check := func(name string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	format, err := ParseSetPixelFormat(m["SetPixelFormat"])
	check("SetPixelFormat", format, err, RGB888())
	list, err := ParseSetEncodings(nil, m["SetEncodings"])
	check("SetEncodings", list, err, []Encoding{EncodingZRLE, EncodingRaw, EncodingExtendedDesktopSize})
	request, err := ParseUpdateRequest(m["update request"])
	check("update request", request, err, UpdateRequest{Incremental: true, Area: image.Rect(1, 2, 300, 400)})
	key, err := ParseKeyEvent(m["key"])
	check("key", key, err, KeyEvent{Down: true, Key: 0xff0d})
	pointer, err := ParsePointerEvent(m["pointer"])
	check("pointer", pointer, err, PointerEvent{Buttons: 0x85, At: image.Pt(10, 20)})
	wide := PointerEvent{Buttons: 0x1aa, At: image.Pt(65535, 1)}
	pointer, err = ParsePointerEvent(wide.AppendExtended(nil))
	check("extended pointer", pointer, err, wide)
	text, err := ParseCutText(m["cut text"])
	check("cut text", text, err, CutText{Text: []byte("gr\xfc\xdfe"), Length: 5})
	text, err = ParseCutText(m["extended"])
	check("extended clipboard", text, err, CutText{Text: []byte{2, 0, 0, 1}, Length: 4, Extended: true})
	size, err := ParseSetDesktopSize(m["SetDesktopSize"])
	check("SetDesktopSize", size, err, SetDesktopSize{
		Width: 640, Height: 480, Screens: []Screen{{ID: 7, Area: image.Rect(0, 0, 640, 480), Flags: 9}},
	})
}

func TestShortMessageIsAnErrorThatNamesIt(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"SetPixelFormat": func(m []byte) error { _, err := ParseSetPixelFormat(m); return err },
		"SetEncodings":   func(m []byte) error { _, err := ParseSetEncodings(nil, m); return err },
		"update request": func(m []byte) error { _, err := ParseUpdateRequest(m); return err },
		"key":            func(m []byte) error { _, err := ParseKeyEvent(m); return err },
		"pointer":        func(m []byte) error { _, err := ParsePointerEvent(m); return err },
		"cut text":       func(m []byte) error { _, err := ParseCutText(m); return err },
		"SetDesktopSize": func(m []byte) error { _, err := ParseSetDesktopSize(m); return err },
	}
	variable := map[string]int{"SetEncodings": 4, "cut text": 8} // shorter bodies are taken as they are
	for name, parse := range parsers {
		whole := messages()[name]
		for n := range whole {
			err := parse(whole[:n])
			if fixed, ok := variable[name]; ok && n >= fixed {
				if err != nil {
					t.Errorf("%s with %d bytes: %v", name, n, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), "bytes, want") {
				t.Errorf("%s with %d of %d bytes: %v", name, n, len(whole), err)
			}
		}
	}
}

func TestServerInitKeepsItsFields(t *testing.T) {
	want := ServerInit{Width: 1280, Height: 800, Format: RGB888(), Name: "Schreibtisch ü"}
	wire := want.Append(nil)
	got, err := ReadServerInit(io.MultiReader(bytes.NewReader(wire), strings.NewReader("after")))
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for n := range wire {
		if _, err := ReadServerInit(bytes.NewReader(wire[:n])); err == nil {
			t.Errorf("%d of %d bytes were enough", n, len(wire))
		}
	}
	wire[20] = 0x7f
	if _, err := ReadServerInit(bytes.NewReader(wire)); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("a name of 2 GB: %v", err)
	}
}

func TestServerMessagesLieAsTheRFCSays(t *testing.T) {
	for name, c := range map[string]struct{ got, want []byte }{
		"security types":  {AppendSecurityTypes(nil, SecurityNone, SecurityVNCAuth), []byte{2, 1, 2}},
		"security type":   {AppendSecurityType33(nil, SecurityNone), []byte{0, 0, 0, 1}},
		"security result": {AppendSecurityResult(nil, SecurityFailed), []byte{0, 0, 0, 1}},
		"reason":          {AppendReason(nil, "no"), []byte{0, 0, 0, 2, 'n', 'o'}},
		"client init":     {ClientInit{Shared: true}.Append(nil), []byte{1}},
		"update":          {AppendFramebufferUpdate(nil, 258), []byte{0, 0, 1, 2}},
		"rectangle": {
			AppendRectangle(nil, image.Rect(1, 2, 4, 6), EncodingDesktopSize),
			[]byte{0, 1, 0, 2, 0, 3, 0, 4, 0xff, 0xff, 0xff, 0x21},
		},
		"extended desktop size": {
			AppendExtendedDesktopSize(nil, ResizedByOther, ResizeInvalidLayout, image.Pt(640, 480),
				Screen{ID: 1, Area: image.Rect(0, 0, 640, 480), Flags: 2}),
			[]byte{
				0, 2, 0, 3, 2, 128, 1, 224, 0xff, 0xff, 0xfe, 0xcc, 1, 0, 0, 0,
				0, 0, 0, 1, 0, 0, 0, 0, 2, 128, 1, 224, 0, 0, 0, 2,
			},
		},
		"bell":     {AppendBell(nil), []byte{2}},
		"cut text": {AppendServerCutText(nil, []byte("hi")), []byte{3, 0, 0, 0, 0, 0, 0, 2, 'h', 'i'}},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s: % x, want % x", name, c.got, c.want)
		}
	}
}
