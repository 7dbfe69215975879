package main

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A fault is one thing wrong in a config file. Line and Column start at 1;
// both are 0 when the fault has no place in the file (a key that is missing).
type fault struct {
	Line, Column int
	Path         string // "pools[0].name"
	Text         string
}

// configError is every fault of one file, in the order of the file.
type configError struct {
	File   string
	Faults []fault
}

func (e *configError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		place := e.File
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", e.File, f.Line, f.Column)
		}
		text := f.Text
		if f.Path != "" {
			text = f.Path + ": " + text
		}
		lines[i] = place + ": " + text
	}
	return strings.Join(lines, "\n")
}

// validator is a config that knows its own rules.
type validator interface{ validate(*faults) }

// loadConfig reads a YAML file into config, which carries the defaults. Every
// fault of syntax, name, type and value is told at once, in a *configError.
// overrides are applied between reading and validating.
func loadConfig(file string, config validator, overrides ...func()) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return &configError{File: file, Faults: []fault{{Text: "the config can't be read: " + bareError(err)}}}
	}
	return parseConfig(file, text, config, overrides...)
}

func parseConfig(file string, text []byte, config validator, overrides ...func()) error {
	found := &faults{places: map[string]*yaml.Node{}}
	var document yaml.Node
	err := yaml.Load(text, &document, yaml.WithUniqueKeys(false))
	switch {
	case err != nil && strings.TrimSpace(stripComments(string(text))) != "":
		found.syntax(err)
	case err == nil:
		root := &document
		if root.Kind == yaml.DocumentNode {
			root = root.Content[0]
		}
		found.decode(root, reflect.ValueOf(config).Elem(), "")
	}
	for _, override := range overrides {
		override()
	}
	if err == nil || len(found.list) == 0 { // what is not YAML has no values to judge
		config.validate(found)
	}
	if len(found.list) == 0 {
		return nil
	}
	slices.SortStableFunc(found.list, func(a, b fault) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return &configError{File: file, Faults: found.list}
}

func stripComments(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool {
		return strings.HasPrefix(strings.TrimSpace(l), "#") || strings.TrimSpace(l) == "---"
	}), "\n")
}

// faults collects what is wrong and remembers where each key stands.
type faults struct {
	list   []fault
	places map[string]*yaml.Node
}

// add records a fault of the key at path, at the nearest place in the file
// that is known: the key itself, or the closest of its parents.
func (f *faults) add(path, format string, args ...any) {
	one := fault{Path: path, Text: fmt.Sprintf(format, args...)}
	for p := path; p != ""; {
		if n := f.places[p]; n != nil {
			one.Line, one.Column = n.Line, n.Column
			break
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	f.list = append(f.list, one)
}

// has tells whether the file sets the key at path.
func (f *faults) has(path string) bool { return f.places[path] != nil }

func (f *faults) at(n *yaml.Node, path, format string, args ...any) {
	f.list = append(f.list, fault{Line: n.Line, Column: n.Column, Path: path, Text: fmt.Sprintf(format, args...)})
}

func (f *faults) syntax(err error) {
	var one *yaml.LoadError
	var many *yaml.LoadErrors
	if errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	} else if !errors.As(err, &one) {
		f.list = append(f.list, fault{Text: "not YAML: " + err.Error()})
		return
	}
	f.list = append(f.list, fault{Line: one.Mark.Line, Column: one.Mark.Column, Text: "not YAML: " + one.Message})
}

// decode fills v from n strictly: unknown and repeated keys and wrong types
// are faults, and decoding goes on after each.
func (f *faults) decode(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if path != "" {
		f.places[path] = n
	}
	if v.Type() == reflect.TypeFor[later]() {
		return // refused as a whole, whatever is in it
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "key:" with nothing behind it keeps the default
	}
	if v.Type() == reflect.TypeFor[oneOrMore]() && n.Kind == yaml.ScalarNode {
		v.Set(reflect.ValueOf(oneOrMore{n.Value}))
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		f.decodeText(n, u, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		f.decode(n, v.Elem(), path)
	case reflect.Struct:
		f.decodeStruct(n, v, path)
	case reflect.Slice:
		f.decodeSlice(n, v, path)
	case reflect.Map:
		f.decodeMap(n, v, path)
	default:
		if n.Kind != yaml.ScalarNode || n.Decode(v.Addr().Interface()) != nil {
			f.at(n, path, "%s is expected, not %s", kindWord(v.Kind()), nodeWord(n))
		}
	}
}

func (f *faults) decodeText(n *yaml.Node, u encoding.TextUnmarshaler, path string) {
	if n.Kind != yaml.ScalarNode {
		f.at(n, path, "one value is expected, not %s", nodeWord(n))
	} else if err := u.UnmarshalText([]byte(n.Value)); err != nil {
		f.at(n, path, "%s", err)
	}
}

func (f *faults) decodeStruct(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		f.at(n, path, "a section with keys is expected, not %s", nodeWord(n))
		return
	}
	fields := map[string]int{}
	for i := range v.NumField() {
		if name, ok := v.Type().Field(i).Tag.Lookup("yaml"); ok {
			fields[name] = i
		}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		field, known := fields[key.Value]
		switch line := seen[key.Value]; {
		case line > 0:
			f.at(key, at, "is set twice; the first is on line %d", line)
		case !known:
			f.at(key, at, "unknown key; here are allowed: %s", strings.Join(allowedKeys(v.Type()), ", "))
		default:
			f.decode(value, v.Field(field), at)
		}
		seen[key.Value] = key.Line
	}
}

func (f *faults) decodeSlice(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		f.at(n, path, "a list is expected, not %s", nodeWord(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		f.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (f *faults) decodeMap(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		f.at(n, path, "names with values are expected, not %s", nodeWord(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := path + "." + key.Value
		if f.has(at) {
			f.at(key, at, "is set twice")
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		f.decode(n.Content[i+1], value, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), value)
	}
}

// allowedKeys are those of a section that are not refused yet.
func allowedKeys(section reflect.Type) (keys []string) {
	for i := range section.NumField() {
		field := section.Field(i)
		if name, ok := field.Tag.Lookup("yaml"); ok && field.Type != reflect.TypeFor[*later]() {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return keys
}

func kindWord(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "a text"
	}
}

func nodeWord(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", n.Value)
	}
}

// oneOrMore is a list of texts that may be written as one text where it has one.
type oneOrMore []string

// duration is a time.Duration written "30s", "1h30m", or 0.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it with a unit, like 30s, 15m or 1h30m", text)
	}
	*d = duration(v)
	return nil
}

func (d duration) std() time.Duration { return time.Duration(d) }

// byteRate is a number of bytes a second, written "500KB", "1.5MB", "50MiB" or 0.
type byteRate int64

// byteUnits are the units of a byteRate. There is none for bits: "Mb" and "MB"
// are confused too easily.
var byteUnits = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
}

// highestByteRate is more than any network card carries, in bytes a second.
const highestByteRate = 1e12

func (r *byteRate) UnmarshalText(text []byte) error {
	if string(text) == "0" {
		*r = 0
		return nil
	}
	for _, unit := range byteUnits {
		number, found := strings.CutSuffix(string(text), unit.name)
		if !found {
			continue
		}
		if !plainNumber.MatchString(number) {
			break
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || n*unit.bytes > highestByteRate {
			return fmt.Errorf("%q a second is too much; at most 1000GB", text)
		}
		*r = byteRate(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a number of bytes a second; write it like 500KB, 1.5MB or 50MiB (bytes, not bits: 400 Mbit/s are 50MB)", text)
}

var plainNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// bareError is err without the file name that *os.PathError repeats.
func bareError(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
