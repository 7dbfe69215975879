package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration is how the API writes a time.Duration: "30m", as in the config. It
// also takes a whole number of seconds. Never negative.
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String leaves out trailing units that are zero: "1h30m", not "1h30m0s".
func (d duration) String() string {
	text := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-len("0s")]
		}
	}
	return text
}

func (d *duration) UnmarshalJSON(text []byte) error {
	var words string
	if err := json.Unmarshal(text, &words); err != nil {
		return d.fromSeconds(text)
	}
	parsed, err := time.ParseDuration(words)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it with a unit, like \"30m\" or \"1h30m\"", clip(words))
	}
	if parsed < 0 {
		return fmt.Errorf("%s is negative", words)
	}
	*d = duration(parsed)
	return nil
}

func (d *duration) fromSeconds(text []byte) error {
	seconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || seconds < 0 || seconds > math.MaxInt64/int64(time.Second) {
		return fmt.Errorf("it must be a duration like \"30m\", or a whole number of seconds, 0 or more")
	}
	*d = duration(time.Duration(seconds) * time.Second)
	return nil
}
