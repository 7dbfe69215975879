package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"
)

// smallDisk is a filesystem of its own.
func smallDisk(t *testing.T, size string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("a filesystem of %s for the test, which only root can make: %v", size, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	return folder
}

// fill leaves no room on a filesystem until the file is removed.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestAFullDiskStopsWritesAlone: they are refused in words, /health names the disk,
// streams and reads go on, nothing acknowledged is lost, and room is all that is
// needed to go on.
func TestAFullDiskStopsWritesAlone(t *testing.T) {
	disk, console := smallDisk(t, "8m"), startRandomServer(t, consoleBytes)
	data := filepath.Join(disk, "data")
	address, admin := freePort(t), freePort(t)
	file := writeText(t, filepath.Join(t.TempDir(), "edge.yml"), fmt.Sprintf(`
listen: {https: %q, http: "", admin: %q}
tls: {self_signed: true}
node: {data_dir: %q}
store: {sqlite: {path: %q}}
direct: {allow: ["127.0.0.1/32:1-65535"]}
`, address, admin, data, filepath.Join(data, "s.db")))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", file)}
	in.serves(data)
	body := map[string]any{"endpoint": console.Addr().String()}
	acknowledged := []string{in.running(body).ID}
	viewer := in.mustView(testContext(t), acknowledged[0])
	if err := verify(viewer, 1, consoleBytes); err != nil {
		t.Fatal(err)
	}

	health := func(wantStatus int, wantWord, wantDatabase string) error {
		status, answer, err := in.try("GET", "/health", nil, nil)
		if err != nil {
			return err
		}
		var told struct{ Status, Database string }
		if err := json.Unmarshal(answer, &told); err != nil {
			return err
		}
		if status != wantStatus || told.Status != wantWord || told.Database != wantDatabase {
			return fmt.Errorf("/health answers %d %s; want %d, %s with the database %s", status, answer, wantStatus, wantWord, wantDatabase)
		}
		return nil
	}
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	create := func(want int) error {
		status, answer, err := in.try("POST", "/api/v1/sessions", body, nil)
		if err != nil {
			return err
		}
		if status == http.StatusAccepted {
			var made desktop
			if err := json.Unmarshal(answer, &made); err != nil {
				t.Fatal(err)
			}
			acknowledged = append(acknowledged, made.ID)
		}
		if status != want {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		if status != http.StatusAccepted && !strings.Contains(string(answer), "disk is full") {
			return fmt.Errorf("the refusal does not name the disk: %s", answer)
		}
		return nil
	}
	eventually(t, "a write is refused when what the database has set aside is used up", func() error { return create(http.StatusServiceUnavailable) })
	for range 20 {
		if err := create(http.StatusServiceUnavailable); err != nil {
			t.Errorf("on a full disk: %v", err)
		}
	}
	for range 20 { // also when what looks for room has been at it
		if err := health(http.StatusServiceUnavailable, "degraded", "disk_full"); err != nil {
			t.Error(err)
		}
	}
	in.call("GET", "/api/v1/sessions/"+acknowledged[0], nil, http.StatusOK, nil)
	in.call("GET", "/api/v1/sessions", nil, http.StatusOK, nil)
	if err := echo(viewer, []byte("while the disk is full")); err != nil {
		t.Errorf("a stream on a full disk: %v", err)
	}
	told := 0
	for line := range strings.Lines(in.process.output.String()) {
		if strings.Contains(line, "disk is full") {
			told++
		}
	}
	if told > 60 { // of some 40 requests
		t.Errorf("the log tells %d times that the disk is full", told)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := health(http.StatusOK, "healthy", "connected"); err != nil {
		t.Errorf("when there is room, before anything is written: %v", err)
	}
	eventually(t, "writes go on when there is room", func() error { return create(http.StatusAccepted) })
	if err := echo(viewer, []byte("and after")); err != nil {
		t.Error(err)
	}
	for _, id := range acknowledged {
		in.becomes(id, "running")
	}
	_ = viewer.Close()
	in.process.signal(syscall.SIGTERM)
	if status := in.process.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	db, err := sql.Open("sqlite", filepath.Join(data, "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the database is %q, %v", verdict, err)
	}
}
