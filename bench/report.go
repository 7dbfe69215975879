package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Report is all of a run; it is also relay.json or http.json.
type Report struct {
	comparison

	Began        time.Time         `json:"began"`
	Took         float64           `json:"took_s"`
	Version      string            `json:"version"`
	Machine      string            `json:"machine"`
	Cores        int               `json:"cores"`
	OpenFiles    uint64            `json:"open_files"`
	Rounds       int               `json:"rounds"`
	Duration     float64           `json:"duration_s"`
	Seed         uint64            `json:"seed"`
	Viewers      int               `json:"viewers"`           // that were asked for; 0: as many as each work has by itself
	Clients      int               `json:"clients,omitempty"` // of HTTP
	Rate         int               `json:"rate,omitempty"`    // of HTTP
	Awake        bool              `json:"awake,omitempty"`   // of HTTP: no core slept
	Peers        map[string]string `json:"peers"`             // program: version
	Missing      []string          `json:"missing"`           // packages
	Verdicts     []Verdict         `json:"verdicts"`
	Measurements []Measurement     `json:"measurements"`
}

// systemsOf are those that were measured at a work, in order.
func (r *Report) systemsOf(work string) (names []string) {
	for _, s := range r.systems {
		if slices.ContainsFunc(r.Measurements, func(m Measurement) bool { return m.Work == work && m.System == s.name }) {
			names = append(names, s.name)
		}
	}
	return names
}

// save writes a report into dir, its page as NAME.html and the raw values as
// NAME.json, and returns the page's path.
func save(dir, name string, report interface{ html() ([]byte, error) }) (page string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("the report's folder: %w", err)
	}
	text, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("the report: %w", err)
	}
	if text, err = report.html(); err != nil {
		return "", err
	}
	page = filepath.Join(dir, name+".html")
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return "", fmt.Errorf("the report: %w", err)
	}
	return page, nil
}
