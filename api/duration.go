package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// duration is how the API writes a time.Duration: "30m", as in the config. It
// also takes a whole number of seconds. Never negative.
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String leaves out units that are zero: "1h", not "1h0m0s".
func (d duration) String() string {
	t := time.Duration(d)
	switch {
	case t == 0:
		return "0s"
	case t%time.Hour == 0:
		return strconv.FormatInt(int64(t/time.Hour), 10) + "h"
	case t%time.Minute == 0 && t < time.Hour:
		return strconv.FormatInt(int64(t/time.Minute), 10) + "m"
	default:
		return t.String()
	}
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
