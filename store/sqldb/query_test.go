package sqldb

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/streamspace-dev/streamspace-edge/store"
)

// TestBothWaysOfScanningReadTheSame: SQLite's is database/sql's, PostgreSQL's pgx's
// own.
func TestBothWaysOfScanningReadTheSame(t *testing.T) {
	for _, n := range []int64{0, 1, -1, time.Now().UnixMicro()} {
		var a, b micros
		if err := a.Scan(n); err != nil {
			t.Fatal(err)
		}
		if err := b.ScanInt64(pgtype.Int8{Int64: n, Valid: true}); err != nil || a != b || time.Time(a).IsZero() != (n == 0) {
			t.Errorf("%d: %v and %v, %v", n, time.Time(a), time.Time(b), err)
		}
		var c, d span
		if err := c.Scan(n); err != nil {
			t.Fatal(err)
		}
		if err := d.ScanInt64(pgtype.Int8{Int64: n, Valid: true}); err != nil || c != d || time.Duration(c) != time.Duration(n)*time.Microsecond {
			t.Errorf("%d: %v and %v, %v", n, time.Duration(c), time.Duration(d), err)
		}
	}
	for _, text := range []string{"null", "{}", `{"count":2,"latest":"no room"}`} {
		var a, b store.Refusals
		errA := document{&a}.Scan(text)
		errB := document{&b}.ScanText(pgtype.Text{String: text, Valid: true})
		if errA != nil || errB != nil || a.Count != b.Count || a.Latest != b.Latest || (len(text) > 4) != (a.Count == 2) {
			t.Errorf("%s: %+v and %+v, %v, %v", text, a, b, errA, errB)
		}
	}
	var labels map[string]string
	if err := (document{&labels}).Scan("{}"); err != nil || labels == nil {
		t.Errorf("no labels are %v, %v; an empty map is not nil", labels, err)
	}
}

func TestNullIsNothingThatIsKept(t *testing.T) {
	for name, err := range map[string]error{
		"a time":        new(micros).ScanInt64(pgtype.Int8{}),
		"a duration":    new(span).ScanInt64(pgtype.Int8{}),
		"JSON":          document{new(store.Refusals)}.ScanText(pgtype.Text{}),
		"a time's NULL": new(micros).Scan(nil),
		"JSON's NULL":   document{new(store.Refusals)}.Scan(nil),
	} {
		if err == nil {
			t.Errorf("%s: NULL was taken", name)
		}
	}
}
