package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamspace-dev/streamspace-edge/store/storetest/pgserver"
)

// TestHealthOfAnEdgeThatLostItsDatabase: /health asks the database at every
// call, in the running program.
func TestHealthOfAnEdgeThatLostItsDatabase(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	check := func(wantStatus int, wantDatabase string) error {
		status, answer, err := in.try("GET", "/health", nil, nil)
		if err != nil {
			return err
		}
		var health struct{ Database string }
		if err := json.Unmarshal(answer, &health); err != nil {
			return err
		}
		if status != wantStatus || health.Database != wantDatabase {
			return fmt.Errorf("status %d: %s; want %d with the database %s", status, answer, wantStatus, wantDatabase)
		}
		return nil
	}
	database := filepath.Join(in.data, "edge", "streamspace.db")
	for range 2 {
		if err := check(http.StatusOK, "connected"); err != nil {
			t.Error(err)
		}
		if err := os.Rename(database, database+".lost"); err != nil {
			t.Fatal(err)
		}
		if err := check(http.StatusServiceUnavailable, "unavailable"); err != nil {
			t.Error(err)
		}
		if err := os.Rename(database+".lost", database); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(http.StatusOK, "connected"); err != nil {
		t.Error(err)
	}
}

// TestWhatPeopleSeeOfADatabaseThatIsAway: the console says so and is there as soon
// as the database is, with the log-in of before; the log tells each of the two
// once, however often it is asked meanwhile.
func TestWhatPeopleSeeOfADatabaseThatIsAway(t *testing.T) {
	server := pgserver.Start(t)
	database := server.DSN(server.NewDatabase())
	start := func(folder string) *installation {
		address := freePort(t)
		file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
			"listen: {https: %q, http: \"\", admin: \"\"}\ntls: {self_signed: true}\nnode: {data_dir: %q}\nstore: {postgres: {primary: %q}}\n",
			address, folder, database))
		return &installation{t: t, URL: "https://" + address, process: startWith(t, environment(t), "edge", "--config", file)}
	}
	folder := t.TempDir()
	first := start(folder)
	first.serves(folder)
	in := start(t.TempDir()) // which has never seen the key that the log-in is by
	eventually(t, "the other edge serves", in.healthy)
	p := page{t, browser(t)}
	p.logIn(first) // at all ports of the host

	server.Stop()
	p.do("loading the page of the other edge", chromedp.Navigate(in.URL))
	p.says("waiting", "The database does not answer")
	for range 5 {
		if status, answer, err := in.try("GET", "/health", nil, nil); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("/health: status %d: %s, %v", status, answer, err)
		}
	}
	server.Run()
	p.sees("new-desktop")
	eventually(t, "the edge is healthy", in.healthy)
	for _, line := range []string{"the database takes no writes", "the database takes writes again"} {
		logged := func() int { return strings.Count(in.process.output.String(), line) }
		eventually(t, "the log has "+line, func() error { // which comes by a pipe, beside the answer
			if logged() == 0 {
				return errors.New("it has not")
			}
			return nil
		})
		if n := logged(); n != 1 {
			t.Errorf("%q is logged %d times", line, n)
		}
	}
	if strings.Contains(in.process.output.String(), `"route": "/health"`) {
		t.Error("the log has requests for /health")
	}
}
