package proxy

import (
	"strings"
	"testing"
)

// Text is not what VNC is made of: a text message is refused at its first frame,
// whatever its payload is, so none of it can pass as UTF-8 or not.
func TestConformanceText(t *testing.T) {
	var cases []conformanceCase
	for name, text := range map[string]string{
		"empty":                  "",
		"of ASCII":               "hello",
		"of several languages":   "κόσμε, 漢字, naïve, 🖥",
		"of 65536 bytes":         strings.Repeat("x", 65536),
		"a byte that may not be": "bad \xff end",
		"a continuation alone":   "\x80",
		"a sequence cut off":     "\xe6\xbc",
		"too long a sequence":    "\xc0\xaf",
		"a surrogate":            "\xed\xa0\x80",
		"beyond Unicode":         "\xf4\x90\x80\x80",
		"six bytes":              "\xfc\x84\x80\x80\x80\x80",
		"a greeting":             greeting,
	} {
		payload := []byte(text)
		half := len(payload) / 2
		cases = append(cases,
			conformanceCase{
				name: name, ends: TextFrame, echo: []byte("good"),
				sends: join(binaryFrame("good"), clientFrame(true, opText, payload), binaryFrame("late")),
			},
			conformanceCase{
				name: name + ", in fragments", ends: TextFrame, pongs: []string{"p"},
				sends: join(pingFrame("p"), clientFrame(false, opText, payload[:half]), pingFrame("late"), clientFrame(true, opContinuation, payload[half:])),
			})
	}
	cases = append(cases, conformanceCase{
		name: "inside a binary message", ends: TextFrame, echo: []byte("good"),
		sends: join(clientFrame(false, opBinary, []byte("good")), clientFrame(true, opText, []byte("bad"))),
	})
	// What is no text is not looked at.
	cases = append(cases, conformanceCase{name: "bytes that are no UTF-8 in a binary message", sends: binaryFrame("\xff\xfe\xc0\xaf"), echo: []byte("\xff\xfe\xc0\xaf")})
	conform(t, cases)
}
