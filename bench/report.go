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
	Peers        map[string]string `json:"peers"`             // program: version
	Missing      []string          `json:"missing"`           // packages
	Verdicts     []Verdict         `json:"verdicts"`
	Measurements []Measurement     `json:"measurements"`
}

func (r *Report) json() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", " ")
	return append(text, '\n'), err
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

// save writes the page and the raw values into dir, and returns the page's path.
func (r *Report) save(dir string) (page string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("the report's folder: %w", err)
	}
	text, err := r.json()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, r.name+".json"), text, 0o644); err != nil {
		return "", fmt.Errorf("the report: %w", err)
	}
	if text, err = r.html(); err != nil {
		return "", err
	}
	page = filepath.Join(dir, r.name+".html")
	if err := os.WriteFile(page, text, 0o644); err != nil {
		return "", fmt.Errorf("the report: %w", err)
	}
	return page, nil
}
