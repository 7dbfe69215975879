package rfb

import "testing"

func TestGreetingIsReadStrictly(t *testing.T) {
	good := map[string]Version{
		"RFB 003.003\n": V33,
		"RFB 003.007\n": V37,
		"RFB 003.008\n": V38,
		"RFB 003.889\n": 3<<16 | 889,
		"RFB 000.000\n": 0,
		"RFB 999.999\n": 999<<16 | 999,
	}
	for line, want := range good {
		got, err := ParseVersion([12]byte([]byte(line)))
		if err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %v, %v; want %v", line, got, err, want)
		}
		if back := got.Bytes(); string(back[:]) != line {
			t.Errorf("%v.Bytes() = %q, want %q", got, back, line)
		}
	}
	for _, line := range []string{
		"GET / HTTP/1", "RFB 003.008\r", "RFB 003 008\n", "RFB 3.8\n\n\n\n\n", "rfb 003.008\n", "RFB -03.008\n",
		"RFB 003.00a\n", "RFB 00:.008\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
	} {
		if v, err := ParseVersion([12]byte([]byte(line))); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", line, v)
		}
	}
}

func TestUnofficialVersionsSpeakTheNearestHandshake(t *testing.T) {
	for _, c := range []struct{ major, minor, want Version }{
		{3, 3, V33}, {3, 5, V33}, {3, 6, V33}, {3, 7, V37}, {3, 8, V38}, {3, 889, V38}, {4, 1, V38}, {5, 0, V38},
		{0, 0, 0}, {3, 2, 0}, {2, 9, 0},
	} {
		got, ok := (c.major<<16 | c.minor).Spoken()
		if got != c.want || ok != (c.want != 0) {
			t.Errorf("version %d.%d speaks %v, %v; want %v", c.major, c.minor, got, ok, c.want)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add([]byte("RFB 003.008\n"))
	f.Add([]byte("RFB 003.003\n"))
	f.Add([]byte("RFB 005.000\n"))
	f.Add([]byte("GET / HTTP/1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var line [12]byte
		copy(line[:], data)
		v, err := ParseVersion(line)
		if err == nil && v.Bytes() != line {
			t.Errorf("%q became %v, which is written %q", line, v, v.Bytes())
		}
	})
}
