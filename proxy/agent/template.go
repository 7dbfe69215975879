package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The words that command and desktop may use in braces.
const (
	wordDisplay   = "display"   // a free X display's number, without the colon; in desktop: the session's
	wordDisplayFD = "displayfd" // a file descriptor for the server to write the number of the display that it took to
	wordPort      = "port"      // a free TCP port
	wordSocket    = "socket"    // the path of a UNIX socket in the session's folder
	wordWidth     = "width"     // pixels
	wordHeight    = "height"
	wordSession   = "session" // the session's id
	wordDir       = "dir"     // the session's folder
	wordXauth     = "xauth"   // an Xauthority file with this session's cookie
	wordName      = "name"    // a name for the desktop
)

func templateVocabulary() []string {
	return []string{wordDisplay, wordDisplayFD, wordPort, wordSocket, wordWidth, wordHeight, wordSession, wordDir, wordXauth, wordName}
}

// templatePart is a literal text, or a word that stands for one.
type templatePart struct {
	text string
	word bool
}

// parseTemplate splits an argument. A brace that stands for itself is doubled.
func parseTemplate(argument string) ([]templatePart, error) {
	var parts []templatePart
	var literal strings.Builder
	for rest := argument; rest != ""; {
		at := strings.IndexAny(rest, "{}")
		if at < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:at])
		brace := rest[at]
		rest = rest[at+1:]
		if rest != "" && rest[0] == brace {
			literal.WriteByte(brace)
			rest = rest[1:]
			continue
		}
		word, after, closed := strings.Cut(rest, "}")
		if brace == '}' || !closed {
			return nil, fmt.Errorf("%q has a brace without its partner; double it for one that stands for itself", argument)
		}
		if !slices.Contains(templateVocabulary(), word) {
			return nil, fmt.Errorf("%q: {%s} is not a word; the words are %s", argument, word, strings.Join(templateVocabulary(), ", "))
		}
		if literal.Len() > 0 {
			parts = append(parts, templatePart{text: literal.String()})
			literal.Reset()
		}
		parts = append(parts, templatePart{text: word, word: true})
		rest = after
	}
	if literal.Len() > 0 {
		parts = append(parts, templatePart{text: literal.String()})
	}
	return parts, nil
}

// templateWords are the words that an argument uses.
func templateWords(argument string) ([]string, error) {
	parts, err := parseTemplate(argument)
	var words []string
	for _, part := range parts {
		if part.word {
			words = append(words, part.text)
		}
	}
	return words, err
}

// usesWord tells whether a command that was validated uses the word.
func usesWord(command []string, word string) bool {
	return slices.ContainsFunc(command, func(argument string) bool {
		words, _ := templateWords(argument)
		return slices.Contains(words, word)
	})
}

// expand replaces the words of a command. Each argument stays one argument,
// whatever the values hold.
func expand(command []string, values map[string]string) ([]string, error) {
	expanded := make([]string, len(command))
	for i, argument := range command {
		parts, err := parseTemplate(argument)
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		for _, part := range parts {
			if part.word {
				text.WriteString(values[part.text])
			} else {
				text.WriteString(part.text)
			}
		}
		expanded[i] = text.String()
	}
	return expanded, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
