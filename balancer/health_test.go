package balancer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHealthThatCanWorkHasNoFault(t *testing.T) {
	for name, config := range map[string]HealthConfig{
		"no check":              {},
		"a path":                {Path: "/"},
		"TCP":                   {TCP: true},
		"all of HTTP":           {Path: "/health?full=1", Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 9, Status: "200, 204,300-399", Body: "ok", Host: "app.example.org:8080"},
		"all of TCP":            {TCP: true, Interval: time.Minute, Timeout: time.Minute, Healthy: 3, Unhealthy: 3},
		"less than the timeout": {Path: "/", Interval: 2 * time.Second},
		"the longest body":      {Path: "/", Body: strings.Repeat("x", 64<<10)},
		"an IPv6 host":          {Path: "/", Host: "[::1]:80"},
	} {
		if faults := config.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestHealthFaultsNameTheKeyAndTheValue(t *testing.T) {
	tests := map[string]struct {
		config HealthConfig
		key    string
		text   string
	}{
		"nothing to check":      {HealthConfig{Interval: time.Second}, "path", "tcp: true"},
		"both":                  {HealthConfig{Path: "/", TCP: true}, "tcp", "one of the two"},
		"no slash":              {HealthConfig{Path: "health"}, "path", `"health"`},
		"a space":               {HealthConfig{Path: "/a b"}, "path", `"/a b"`},
		"a header":              {HealthConfig{Path: "/\r\nX: y"}, "path", `"/\r\nX: y"`},
		"a fragment":            {HealthConfig{Path: "/#top"}, "path", `"/#top"`},
		"not ASCII":             {HealthConfig{Path: "/ü"}, "path", `"/ü"`},
		"a negative interval":   {HealthConfig{Path: "/", Interval: -time.Second}, "interval", "-1s"},
		"a flood":               {HealthConfig{Path: "/", Interval: time.Millisecond}, "interval", "10ms"},
		"a negative timeout":    {HealthConfig{Path: "/", Timeout: -time.Second}, "timeout", "-1s"},
		"too long a timeout":    {HealthConfig{Path: "/", Timeout: 16 * time.Second}, "timeout", "interval of 15s"},
		"healthy":               {HealthConfig{Path: "/", Healthy: -1}, "healthy", "-1"},
		"unhealthy":             {HealthConfig{Path: "/", Unhealthy: -2}, "unhealthy", "-2"},
		"no such status":        {HealthConfig{Path: "/", Status: "2xx"}, "status", `"2xx"`},
		"too long a body":       {HealthConfig{Path: "/", Body: strings.Repeat("x", 64<<10+1)}, "body", "65537"},
		"a host with a path":    {HealthConfig{Path: "/", Host: "a/b"}, "host", `"a/b"`},
		"a host with a user":    {HealthConfig{Path: "/", Host: "me@a"}, "host", `"me@a"`},
		"a host and a header":   {HealthConfig{Path: "/", Host: "a\r\nX: y"}, "host", `"a\r\nX: y"`},
		"a status for TCP":      {HealthConfig{TCP: true, Status: "200"}, "status", "TCP"},
		"a body for TCP":        {HealthConfig{TCP: true, Body: "ok"}, "body", "TCP"},
		"a host for TCP":        {HealthConfig{TCP: true, Host: "a"}, "host", "TCP"},
		"a default is too long": {HealthConfig{Path: "/", Interval: time.Second, Timeout: 2 * time.Second}, "timeout", "2s"},
	}
	for name, test := range tests {
		faults := test.config.Validate()
		if len(faults) != 1 || faults[0].Key != test.key || !strings.Contains(faults[0].Text, test.text) {
			t.Errorf("%s: faults %v, want one of %s that says %s", name, faults, test.key, test.text)
		}
	}
	if faults := (HealthConfig{Path: "x", Interval: 1, Healthy: -1, Status: ",", Host: "/"}).Validate(); len(faults) != 5 {
		t.Errorf("five faults were told as %v", faults)
	}
}

func TestStatusIsAListOfCodesAndRanges(t *testing.T) {
	for text, want := range map[string][]int{
		"200":                {200},
		"200-399":            {200, 204, 301, 399},
		"204,200":            {200, 204},
		" 200 , 500-599 ":    {200, 500, 503, 599},
		"200-299,404,404":    {200, 299, 404},
		"599-599,201 ,  200": {200, 201, 599},
	} {
		got, err := parseStatus(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for _, code := range []int{101, 199, 200, 201, 204, 299, 301, 399, 404, 500, 503, 599, 600} {
			if want := slices.Contains(want, code) || inRange(text, code); got.has(code) != want {
				t.Errorf("%q: %d is good: %v", text, code, !want)
			}
		}
	}
	for _, text := range []string{"", ",", "200,", "2xx", "20", "0200", "+200", "199", "600", "200-", "-200", "300-200", "200-299-300", "200;204", "200–299", "2 00"} {
		if got, err := parseStatus(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// inRange is an independent reading of the ranges in text.
func inRange(text string, code int) bool {
	for _, word := range strings.Split(text, ",") {
		var from, to int
		if n, _ := fmt.Sscanf(strings.TrimSpace(word), "%d-%d", &from, &to); n == 2 && from <= code && code <= to {
			return true
		}
	}
	return false
}

func FuzzParseStatus(f *testing.F) {
	for _, seed := range []string{"200-399", "200, 204,500-599", "", "-", "200-100", "99999999999999999999", "2\x0000", "200,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseStatus(text)
		if err != nil {
			if all != nil {
				t.Errorf("%q is a fault and %v", text, all)
			}
			return
		}
		if len(all) != strings.Count(text, ",")+1 {
			t.Errorf("%q has %d ranges", text, len(all))
		}
		var words []string
		for _, r := range all {
			if r.from < 200 || r.from > r.to || r.to > 599 {
				t.Errorf("%q has %v", text, r)
			}
			words = append(words, fmt.Sprintf("%d-%d", r.from, r.to))
		}
		again, err := parseStatus(strings.Join(words, ","))
		if err != nil || !slices.Equal(all, again) {
			t.Errorf("%q is %v, and written out %v, %v", text, all, again, err)
		}
	})
}

func TestHealthChangesAtItsThresholdsExactly(t *testing.T) {
	tests := []struct {
		healthy, unhealthy int
		from               health
		results            string // + good, - bad
		states             string // after each: u up, d down
	}{
		{2, 2, healthUnknown, "+", "u"},
		{2, 2, healthUnknown, "-", "d"},
		{2, 2, healthUnknown, "+--++", "uudd" + "u"},
		{2, 2, healthUnknown, "-+-++", "dddd" + "u"},
		{1, 1, healthUnknown, "+-+-", "udud"},
		{3, 1, healthUnknown, "+-++-+++", "udddddd" + "u"},
		{1, 3, healthUnknown, "+--+---+", "uuuuuud" + "u"},
		{2, 2, healthUp, "-+--", "uuud"},
		{2, 2, healthDown, "+-++", "dddu"},
		{2, 3, healthUp, "--", "uu"},
		{5, 5, healthUnknown, "----++++-+++++", "ddddddddddddd" + "u"},
	}
	for _, test := range tests {
		state := thresholds{healthy: test.healthy, unhealthy: test.unhealthy, state: test.from}
		got, before := "", test.from
		for _, result := range test.results {
			changed := state.note(result == '+')
			if changed != (state.state != before) {
				t.Errorf("%+v: change told: %v, from %s to %s", test, changed, before, state.state)
			}
			before = state.state
			got += state.state.String()[:1]
		}
		if got != test.states {
			t.Errorf("%+v: went through %s", test, got)
		}
	}
}
