package rfb

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWelcomeOfEveryViewer(t *testing.T) {
	const greeting = "RFB 003.008\n"
	for name, c := range map[string]struct {
		says, hears string
		want        Version
		fault       string
	}{
		"3.8":              {"RFB 003.008\n\x01", greeting + "\x01\x01\x00\x00\x00\x00", V38, ""},
		"3.7":              {"RFB 003.007\n\x01", greeting + "\x01\x01", V37, ""},
		"3.3":              {"RFB 003.003\n", greeting + "\x00\x00\x00\x01", V33, ""},
		"3.5, unofficial":  {"RFB 003.005\n", greeting + "\x00\x00\x00\x01", V33, ""},
		"3.889, Apple's":   {"RFB 003.889\n\x01", greeting + "\x01\x01\x00\x00\x00\x00", V38, ""},
		"3.8, not offered": {"RFB 003.008\n\x02", greeting + "\x01\x01\x00\x00\x00\x01\x00\x00\x00\x4bthe viewer chose VNC", V38, "chose VNC authentication, which was not offered"},
		"3.7, not offered": {"RFB 003.007\n\x00", greeting + "\x01\x01\x00\x00\x00\x01", V37, "chose invalid"},
		"too old":          {"RFB 003.002\n", greeting, 0, "RFB 3.2, which is older"},
		"web browser":      {"GET / HTTP/1", greeting, 0, "is not RFB"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"at once":      func(r io.Reader) io.Reader { return r },
				"byte by byte": iotest.OneByteReader,
			} {
				s := newScript(c.says + after)
				s.Reader = wrap(s.Reader)
				got, err := Welcome(s)
				if want := (Handshake{Offered: V38, Version: c.want, Security: SecurityNone}); got != want {
					t.Errorf("%s: %+v, want %+v", how, got, want)
				}
				if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
					t.Errorf("%s: %v, want %q", how, err, c.fault)
				}
				heard := s.answers.String()
				if !strings.HasPrefix(heard, c.hears) || c.fault == "" && heard != c.hears {
					t.Errorf("%s: it hears %q, want %q", how, heard, c.hears)
				}
				if rest, _ := io.ReadAll(s.said); string(rest) != after {
					t.Errorf("%s: %q was left to read, want %q", how, rest, after)
				}
			}
			for n := range c.says {
				if _, err := Welcome(newScript(c.says[:n])); err == nil {
					t.Errorf("%d of %d bytes were enough", n, len(c.says))
				}
			}
		})
	}
}

// What Welcome says, Authenticate understands.
func TestWelcomeAndAuthenticateAgree(t *testing.T) {
	server, viewer := net.Pipe()
	defer server.Close()
	defer viewer.Close()
	type end struct {
		h   Handshake
		err error
	}
	welcomed := make(chan end, 1)
	go func() {
		h, err := Welcome(server)
		welcomed <- end{h, err}
	}()
	h, err := Authenticate(viewer, "is not needed")
	want := Handshake{Offered: V38, Version: V38, Security: SecurityNone}
	if other := <-welcomed; h != want || err != nil || other != (end{h: want}) {
		t.Errorf("%+v, %v and %+v; want %+v", h, err, other, want)
	}
}

func FuzzWelcome(f *testing.F) {
	f.Add("RFB 003.008\n\x01" + after)
	f.Add("RFB 003.007\n\x02")
	f.Add("RFB 003.003\n\x01")
	f.Fuzz(func(t *testing.T, says string) {
		s := newScript(says)
		h, err := Welcome(s)
		if err != nil {
			return
		}
		length := greetingLen + 1
		if h.Version == V33 {
			length--
		}
		if read := len(says) - s.said.Len(); read != length {
			t.Errorf("%+v after %d bytes, want %d", h, read, length)
		}
	})
}

// A Reception that hears a viewer in pieces says what Welcome says to it.
func FuzzReception(f *testing.F) {
	f.Add("RFB 003.008\n\x01"+after, 3)
	f.Add("RFB 003.007\n\x02", 1)
	f.Add("RFB 003.003\n\x01", 12)
	f.Fuzz(func(t *testing.T, says string, piece int) {
		s := newScript(says)
		h, failed := Welcome(s)
		var r Reception
		said, rest, err := r.Greeting(), []byte(says), error(nil)
		for len(rest) > 0 && !r.Done() && err == nil {
			var n int
			var answer []byte
			n, answer, err = r.Hear(rest[:min(max(piece, 1), len(rest))])
			if n == 0 && !r.Done() && err == nil {
				t.Fatalf("it takes nothing of %q", rest)
			}
			rest, said = rest[n:], append(said, answer...)
		}
		if r.Done() != (failed == nil) || r.Handshake() != h || string(said) != s.answers.String() || r.Done() && len(rest) != s.said.Len() {
			t.Errorf("%+v, %v, says %q, leaves %q; Welcome: %+v, %v, says %q", r.Handshake(), err, said, rest, h, failed, s.answers.String())
		}
	})
}
