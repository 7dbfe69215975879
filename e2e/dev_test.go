package e2e

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

// TestDevThatListensEverywhereNamesAnAddressThatWorks: nobody can open
// https://[::]:8443.
func TestDevThatListensEverywhereNamesAnAddressThatWorks(t *testing.T) {
	for _, everywhere := range []string{"0.0.0.0:0", ":0"} {
		in := startDev(t, t.TempDir(), "--runtime", "demo", "--listen", everywhere, "--admin", everywhere)
		for _, told := range []string{in.URL, in.AdminURL} {
			u, err := url.Parse(told)
			if err != nil || u.Hostname() != "localhost" || u.Port() == "0" {
				t.Errorf("--listen %s is told as %s", everywhere, told)
			}
		}
		eventually(t, "the output names "+in.URL, func() error {
			if output := in.process.output.String(); !strings.Contains(output, in.URL+"\n") {
				return errors.New(output)
			}
			return nil
		})
		in.visit(testContext(t), in.running(nil).ID)
	}
}
