package api

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// FuzzBody: a body is taken, or refused as invalid; what is taken is what the
// standard library reads too.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", `{"name":"a","width":1,"labels":{"a":"b"},"idle_timeout":"1h","max_duration":5}`, `{"name":"a"}{}`, `{"name":null}`,
		`{"labels":{"a":null}}`, `{"name"`, `[{}]`, `{"width":1e3}`, `{"name":"\ud800"}`, "\xff", `{"name":"a",}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var name string
		var width int
		var marks labels
		var idle, most duration
		into := fields{"name": &name, "width": &width, "labels": &marks, "idle_timeout": &idle, "max_duration": &most}
		err := decodeObject([]byte(text), into)
		if err != nil {
			if store.CodeOf(err) != store.Invalid || len(err.Error()) > 2000 {
				t.Fatalf("%v", err)
			}
			return
		}
		var same struct {
			Name   string
			Width  int
			Labels map[string]string
		}
		if strings.TrimSpace(text) == "" {
			return
		}
		if err := json.Unmarshal([]byte(text), &same); err != nil {
			t.Fatalf("taken, but encoding/json says %v", err)
		}
		if same.Name != name || same.Width != width || len(same.Labels) != len(marks) || idle < 0 || most < 0 {
			t.Fatalf("read %q %d %v, encoding/json %+v", name, width, marks, same)
		}
	})
}

// FuzzDuration: what is read is not negative, and reads the same after it was
// written.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{`"1h"`, `"90m"`, `"1h30m"`, `0`, `-1`, `9223372036`, `9223372037`, `"-0s"`, `1.5`, `null`, `"1h`, `"2562047h47m16s"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again duration
		if json.Unmarshal([]byte(text), &d) != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%s is %s", text, time.Duration(d))
		}
		written, err := json.Marshal(d)
		if err != nil || json.Unmarshal(written, &again) != nil || again != d {
			t.Fatalf("%s was written as %s and read as %s", time.Duration(d), written, time.Duration(again))
		}
	})
}

// FuzzQuery: a filter is within its bounds, and a cursor is passed on as it is.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "state=running,failed&limit=5", "cursor=a%20b", "limit=-1", "owner=%ff", "agent=" + newID(), "a;b", "limit=1&limit=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		filter, err := sessionFilter(query)
		if err != nil {
			if store.CodeOf(err) != store.Invalid || len(err.Error()) > 2000 {
				t.Fatal(err)
			}
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil || filter.Cursor != values.Get("cursor") || filter.Owner != values.Get("owner") ||
			filter.Limit < 0 || filter.Limit > store.MaxPage || len(filter.States) > len(store.States()) || len(filter.Cursor) > maxFilter {
			t.Fatalf("%q gave %+v, %v", query, filter, err)
		}
		for _, state := range filter.States {
			if !state.Valid() {
				t.Fatalf("state %q", state)
			}
		}
	})
}
