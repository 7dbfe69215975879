package console

import (
	"strings"
	"testing"
)

func FuzzWeightOf(f *testing.F) {
	for _, seed := range []string{"", "gzip", "br, gzip;q=0.8", "*;q=0", "gzip;q=", ";;,,", "gzip;q=NaN", "gzip;q=-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accepted string) {
		got := weightOf([]string{accepted}, "gzip")
		if got < 0 || got > 1 {
			t.Errorf("%q weighs %v", accepted, got)
		}
		if got > 0 && !strings.Contains(accepted, "*") && !strings.Contains(strings.ToLower(accepted), "gzip") {
			t.Errorf("%q does not name gzip", accepted)
		}
		// A line may come in parts (RFC 9110 section 5.3).
		if parts := strings.Split(accepted, ","); weightOf(parts, "gzip") != got {
			t.Errorf("%q means something else in %d lines", accepted, len(parts))
		}
	})
}
