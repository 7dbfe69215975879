package balancer

import (
	"strings"
	"testing"
)

func TestFieldsAreFoundInAnyCase(t *testing.T) {
	for length, fields := range fieldsByLength {
		for _, f := range fields {
			if len(f.name) != length {
				t.Errorf("%s stands with the names of %d bytes", f.name, length)
			}
			for _, name := range []string{f.name, strings.ToUpper(f.name), strings.ToLower(f.name)} {
				if got := fieldOf([]byte(name)); got != f.is {
					t.Errorf("%s: got %b, want %b", name, got, f.is)
				}
			}
		}
	}
	for _, name := range []string{"", "a", "Hosts", "Hose", "X-Forwarded-Fox", "Connection ", "X-Forwarded-Server-Of-Something"} {
		if got := fieldOf([]byte(name)); got != 0 {
			t.Errorf("%q: got %b, want none", name, got)
		}
	}
}
