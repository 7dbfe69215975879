package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// MaxBody is how many bytes a request's body may have.
const MaxBody = 1 << 20

const (
	maxFilter      = 255 // bytes of a value in a query
	maxIdempotency = 255 // bytes of an Idempotency-Key
)

// fields says where each field of a JSON object goes; the keys are the names
// that a client may use.
type fields map[string]any

// decodeBody fills into from the request's body: nothing, or one JSON object.
// Whatever else is there is refused with the field named.
func decodeBody(r *http.Request, into fields) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return &store.Error{Code: store.Invalid, Text: "the body could not be read", Cause: err}
	}
	if len(body) > MaxBody {
		return store.Errorf(store.Invalid, "the body has more than %d bytes", MaxBody)
	}
	return decodeObject(body, into)
}

func decodeObject(text []byte, into fields) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return store.Errorf(store.Invalid, "the body is not a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return malformed(err)
		}
		field := name.(string) // in an object, what More announces is a name
		target, known := into[field]
		switch {
		case !known && len(into) == 0:
			return store.Errorf(store.Invalid, "unknown field %q; there are none here", clip(field))
		case !known:
			return store.Errorf(store.Invalid, "unknown field %q; there are: %s", clip(field), strings.Join(slices.Sorted(maps.Keys(into)), ", "))
		case seen[field]:
			return store.Errorf(store.Invalid, "%s is there twice", field)
		}
		seen[field] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return malformed(err)
		}
		if err := decodeField(field, value, target); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return malformed(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return store.Errorf(store.Invalid, "there is something after the JSON object")
	}
	return nil
}

func decodeField(field string, value json.RawMessage, target any) error {
	if string(value) == "null" {
		return store.Errorf(store.Invalid, "%s is null; leave it out instead", field)
	}
	err := json.Unmarshal(value, target)
	if _, isTime := target.(*time.Time); isTime && err != nil {
		return store.Errorf(store.Invalid, "%s is %s; it must be a time like \"2027-01-31T18:00:00Z\"", field, clip(string(value)))
	}
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		return store.Errorf(store.Invalid, "%s is a %s; it must be %s", field, clip(kind.Value), kindName(target))
	default:
		return store.Errorf(store.Invalid, "%s: %s", field, clip(err.Error()))
	}
}

func kindName(target any) string {
	switch target.(type) {
	case *string:
		return "a string"
	case *int:
		return "a whole number"
	case *labels:
		return "an object of strings"
	default:
		return "of another type"
	}
}

func malformed(err error) error {
	return store.Errorf(store.Invalid, "the body is not valid JSON: %v", err)
}

// labels is a JSON object of strings.
type labels map[string]string

func (l *labels) UnmarshalJSON(text []byte) error {
	var values map[string]*string
	if err := json.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("it must be an object of strings")
	}
	*l = make(labels, len(values))
	for name, value := range values {
		if value == nil {
			return fmt.Errorf("%s is null; it must be a string", clip(name))
		}
		(*l)[name] = *value
	}
	return nil
}

// pathID is the id in the request's path.
func pathID(r *http.Request) (string, error) { return parseID("id", r.PathValue("id")) }

func parseID(field, text string) (string, error) {
	if len(text) != 36 || uuid.Validate(text) != nil {
		return "", store.Errorf(store.Invalid, "%s %q is not a UUID", field, clip(text))
	}
	return strings.ToLower(text), nil
}

// idempotencyKey is "" when the client sent none.
func idempotencyKey(r *http.Request) (string, error) {
	sent := r.Header.Values("Idempotency-Key")
	if len(sent) == 0 {
		return "", nil
	}
	key := sent[0]
	visible := func(c rune) bool { return c > ' ' && c <= '~' }
	if len(sent) > 1 || key == "" || len(key) > maxIdempotency || strings.ContainsFunc(key, func(c rune) bool { return !visible(c) }) {
		return "", store.Errorf(store.Invalid, "Idempotency-Key must be sent once and hold 1 to %d visible ASCII characters", maxIdempotency)
	}
	return key, nil
}

// checkText refuses names that are too long or would not show.
func checkText(field, value string, limit int) error {
	odd := func(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }
	switch {
	case utf8.RuneCountInString(value) > limit:
		return store.Errorf(store.Invalid, "%s has %d characters; at most %d", field, utf8.RuneCountInString(value), limit)
	case strings.ContainsFunc(value, odd):
		return store.Errorf(store.Invalid, "%s %q has characters that can't be shown; use printable ones", field, clip(value))
	}
	return nil
}

// clip keeps a client's text short enough to be told back.
func clip(text string) string {
	const most = 200 // bytes
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
