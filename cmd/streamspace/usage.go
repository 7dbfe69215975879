package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// helpFirst takes "help" and "help VERB" for "--help" and "VERB --help", as many
// programs do.
func helpFirst(args []string) []string {
	if len(args) == 0 || args[0] != "help" {
		return args
	}
	return append(args[1:len(args):len(args)], "--help")
}

// usageError is what is wrong with a command line, and where to read on.
func usageError(err error) string {
	var wrong *kong.ParseError
	if !errors.As(err, &wrong) {
		return err.Error()
	}
	text, verb := err.Error(), ""
	if selected := wrong.Context.Selected(); selected != nil {
		verb = " " + selected.Name
	}
	for _, flag := range wrong.Context.Flags() {
		name := "--" + flag.Name
		if rest, found := strings.CutPrefix(text, name+": "); found && (strings.Contains(rest, "<EOL>") || strings.HasPrefix(rest, "missing value")) {
			text = fmt.Sprintf("%s needs a value: %s %s", name, name, strings.Trim(flag.FormatPlaceHolder(), `"`))
		}
	}
	return fmt.Sprintf("%s\nRun \"streamspace%s --help\" to see what there is.", text, verb)
}
