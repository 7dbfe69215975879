package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestATokenThatWasCutOffIsAFault(t *testing.T) {
	pin := "sha256:" + strings.Repeat("0a", 32)
	for text, says := range map[string]string{
		"ssk_secret\n":               "",
		"ssk_secret@" + pin + "\n":   "",
		"ssk_secret@":                "copy the whole line",
		"ssk_secret@sha256":          "copy the whole line",
		"ssk_secret@" + pin[:70]:     "copy the whole line",
		"ssk_secret@" + pin + " \nx": "copy the whole line",
		"secret@" + pin:              "holds no join token",
	} {
		file := filepath.Join(t.TempDir(), "join.token")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := readToken(file)
		switch {
		case says == "" && (err != nil || token.secret != "ssk_secret"):
			t.Errorf("%q: %+v, %v", text, token, err)
		case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
			t.Errorf("%q: error %v, want one that says %q", text, err, says)
		}
	}
}
