package rfb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// script is a connection whose other end says what was written down, however
// it is answered.
type script struct {
	io.Reader
	said    *bytes.Reader
	answers bytes.Buffer
}

func newScript(says string) *script {
	said := bytes.NewReader([]byte(says))
	return &script{Reader: said, said: said}
}

func (s *script) Write(p []byte) (int, error) { return s.answers.Write(p) }

const (
	challenge = "0123456789abcdef"
	password  = "Pa55wörd" // nine bytes, eight of which count
	after     = "what comes after the handshake"
)

func response(password string) string {
	r := VNCAuthResponse([ChallengeLen]byte([]byte(challenge)), password)
	return string(r[:])
}

// The numbers come from OpenSSL's des-ecb with the mirrored key.
func TestVNCAuthResponseIsTheOneOfOtherPrograms(t *testing.T) {
	for password, want := range map[string]string{
		"":                "a068dbeab73d140b56541eb3c7625177",
		"secret":          "752440ee2bfcc2a0d9013fd20371e23b",
		"twelve bytes":    "b40a3286ba973e079f66d8caafb77f63",
		"twelve bfurther": "b40a3286ba973e079f66d8caafb77f63",
		"\xff\x80\x01":    "a2079129352064c2b5a4688852ec11a2",
	} {
		if got := hex.EncodeToString([]byte(response(password))); got != want {
			t.Errorf("%q: %s, want %s", password, got, want)
		}
	}
}

func TestAuthenticateWithEveryServer(t *testing.T) {
	const ok, failed, tooMany = "\x00\x00\x00\x00", "\x00\x00\x00\x01", "\x00\x00\x00\x02"
	proof := response(password)
	for name, c := range map[string]struct {
		password, says, answers string
		want                    Handshake
		fault                   string // empty: all is well
	}{
		"3.8 None":             {"", "RFB 003.008\n\x01\x01" + ok, "RFB 003.008\n\x01", Handshake{V38, V38, SecurityNone}, ""},
		"3.8 VncAuth":          {password, "RFB 003.008\n\x01\x02" + challenge + ok, "RFB 003.008\n\x02" + proof, Handshake{V38, V38, SecurityVNCAuth}, ""},
		"3.8 both":             {password, "RFB 003.008\n\x03\x10\x01\x02" + challenge + ok, "RFB 003.008\n\x02" + proof, Handshake{V38, V38, SecurityVNCAuth}, ""},
		"3.8 both, no secret":  {"", "RFB 003.008\n\x03\x10\x02\x01" + ok, "RFB 003.008\n\x01", Handshake{V38, V38, SecurityNone}, ""},
		"3.8 None suffices":    {password, "RFB 003.008\n\x01\x01" + ok, "RFB 003.008\n\x01", Handshake{V38, V38, SecurityNone}, ""},
		"3.7 None":             {"", "RFB 003.007\n\x01\x01", "RFB 003.007\n\x01", Handshake{V37, V37, SecurityNone}, ""},
		"3.7 VncAuth":          {password, "RFB 003.007\n\x01\x02" + challenge + ok, "RFB 003.007\n\x02" + proof, Handshake{V37, V37, SecurityVNCAuth}, ""},
		"3.3 None":             {"", "RFB 003.003\n\x00\x00\x00\x01", "RFB 003.003\n", Handshake{V33, V33, SecurityNone}, ""},
		"3.3 VncAuth":          {password, "RFB 003.003\n\x00\x00\x00\x02" + challenge + ok, "RFB 003.003\n" + proof, Handshake{V33, V33, SecurityVNCAuth}, ""},
		"3.889, Apple's":       {password, "RFB 003.889\n\x02\x1e\x02" + challenge + ok, "RFB 003.008\n\x02" + proof, Handshake{3<<16 | 889, V38, SecurityVNCAuth}, ""},
		"3.6, UltraVNC's":      {"", "RFB 003.006\n\x00\x00\x00\x01", "RFB 003.003\n", Handshake{3<<16 | 6, V33, SecurityNone}, ""},
		"3.8 wrong password":   {password, "RFB 003.008\n\x01\x02" + challenge + failed + "\x00\x00\x00\x02no", "RFB 003.008\n\x02" + proof, Handshake{V38, V38, SecurityVNCAuth}, `refused the password: "no"`},
		"3.8 wrong, no reason": {password, "RFB 003.008\n\x01\x02" + challenge + failed, "RFB 003.008\n\x02" + proof, Handshake{V38, V38, SecurityVNCAuth}, "refused the password"},
		"3.8 too many":         {password, "RFB 003.008\n\x01\x02" + challenge + tooMany + "\x00\x00\x00\x04wait", "RFB 003.008\n\x02" + proof, Handshake{V38, V38, SecurityVNCAuth}, `refused the password: "wait"`},
		"3.7 wrong password":   {password, "RFB 003.007\n\x01\x02" + challenge + failed, "RFB 003.007\n\x02" + proof, Handshake{V37, V37, SecurityVNCAuth}, "refused the password"},
		"3.3 too many":         {password, "RFB 003.003\n\x00\x00\x00\x02" + challenge + tooMany, "RFB 003.003\n" + proof, Handshake{V33, V33, SecurityVNCAuth}, `"too many attempts"`},
		"3.8 no password":      {"", "RFB 003.008\n\x02\x02\x13", "RFB 003.008\n", Handshake{V38, V38, 0}, "wants a password"},
		"3.3 no password":      {"", "RFB 003.003\n\x00\x00\x00\x02", "RFB 003.003\n", Handshake{V33, V33, 0}, "wants a password"},
		"3.8 others only":      {password, "RFB 003.008\n\x02\x13\x1e", "RFB 003.008\n", Handshake{V38, V38, 0}, "only VeNCrypt, Apple Remote Desktop; let it offer VNC authentication"},
		"3.3 another":          {password, "RFB 003.003\n\x00\x00\x00\x05", "RFB 003.003\n", Handshake{V33, V33, 0}, "only RA2"},
		"3.3 nonsense":         {password, "RFB 003.003\n\x00\x00\x01\x02", "RFB 003.003\n", Handshake{V33, V33, 0}, "security type 258"},
		"3.8 refuses":          {password, "RFB 003.008\n\x00\x00\x00\x00\x04full", "RFB 003.008\n", Handshake{V38, V38, 0}, `refused the connection: "full"`},
		"3.3 refuses":          {password, "RFB 003.003\n\x00\x00\x00\x00\x00\x00\x00\x04full", "RFB 003.003\n", Handshake{V33, V33, 0}, `refused the connection: "full"`},
		"2.9":                  {password, "RFB 002.009\n", "", Handshake{2<<16 | 9, 0, 0}, "RFB 2.9, which is older"},
		"web server":           {password, "HTTP/1.1 400", "", Handshake{}, "is not RFB"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"at once":      func(r io.Reader) io.Reader { return r },
				"byte by byte": iotest.OneByteReader,
			} {
				end := after
				if c.fault != "" {
					end = "" // nothing more is read than was said
				}
				s := newScript(c.says + end)
				s.Reader = wrap(s.Reader)
				got, err := Authenticate(s, c.password)
				if got != c.want {
					t.Errorf("%s: %+v, want %+v", how, got, c.want)
				}
				if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
					t.Errorf("%s: %v, want %q", how, err, c.fault)
				}
				if s.answers.String() != c.answers {
					t.Errorf("%s: it was answered %q, want %q", how, s.answers.String(), c.answers)
				}
				if rest, _ := io.ReadAll(s.said); c.fault == "" && string(rest) != after {
					t.Errorf("%s: %q was left to read, want %q", how, rest, after)
				}
			}
			for n := range c.says {
				s := newScript(c.says[:n])
				_, err := Authenticate(s, c.password)
				if err == nil {
					t.Errorf("%d of %d bytes were enough", n, len(c.says))
				}
				var refused *RefusedError
				if errors.Is(err, io.EOF) || c.fault == "" && !errors.As(err, &refused) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("cut at %d: %v", n, err)
				}
			}
		})
	}
}

func TestRefusalIsBoundedAndKeepsThePasswordBack(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		length string // as announced
		want   string
	}{
		"endless":       {strings.Repeat("x", 4096), "\xff\xff\xff\xff", strings.Repeat("x", MaxReason)},
		"cut":           {"the disk is", "\x00\x00\x10\x00", "the disk is"},
		"the password":  {"it is not " + password, "\x00\x00\x00\x13", ""},
		"its first 8":   {"it is not " + password[:8] + "!", "\x00\x00\x00\x13", ""},
		"control bytes": {"\x1b[2J\r\n", "\x00\x00\x00\x06", "\x1b[2J\r\n"},
	} {
		s := newScript("RFB 003.008\n\x01\x02" + challenge + "\x00\x00\x00\x01" + c.length + c.reason)
		_, err := Authenticate(s, password)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != c.want || refused.Security != SecurityVNCAuth {
			t.Errorf("%s: %#v, want %q", name, err, c.want)
		}
		if strings.Contains(err.Error(), password[:8]) || strings.ContainsAny(err.Error(), "\x1b\r\n") {
			t.Errorf("%s: %q", name, err)
		}
	}
}

func TestAuthenticateToldThatItCantWrite(t *testing.T) {
	gone := errors.New("gone")
	rw := struct {
		io.Reader
		io.Writer
	}{strings.NewReader("RFB 003.008\n\x01\x01"), errWriter{gone}}
	if _, err := Authenticate(rw, ""); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

func FuzzAuthenticate(f *testing.F) {
	f.Add("RFB 003.008\n\x02\x02\x01"+challenge+"\x00\x00\x00\x00after", password)
	f.Add("RFB 003.003\n\x00\x00\x00\x02"+challenge+"\x00\x00\x00\x01", "")
	f.Add("RFB 003.007\n\x01\x02"+challenge+"\x00\x00\x00\x02", "x")
	f.Add("RFB 003.008\n\x00\xff\xff\xff\xff", password)
	f.Fuzz(func(t *testing.T, says, password string) {
		s := newScript(says)
		h, err := Authenticate(s, password)
		cut := newScript(says)
		cut.Reader = iotest.OneByteReader(cut.Reader)
		if again, cutErr := Authenticate(cut, password); again != h || (cutErr == nil) != (err == nil) || cut.answers.String() != s.answers.String() {
			t.Errorf("%+v, %v and byte by byte %+v, %v", h, err, again, cutErr)
		}
		if err != nil {
			if len(err.Error()) > 5*MaxReason {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		read := says[:len(says)-s.said.Len()]
		if h.Security == SecurityVNCAuth && (password == "" || !strings.HasSuffix(read, "\x00\x00\x00\x00")) {
			t.Errorf("%+v with the password %q after %q", h, password, read)
		}
	})
}
