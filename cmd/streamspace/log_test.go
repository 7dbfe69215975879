package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestDurationsInLogs are numbers for programs and words for people.
func TestDurationsInLogs(t *testing.T) {
	var forPrograms, forPeople bytes.Buffer
	newLogger("json", "info", &forPrograms).Info("x", zap.Duration("took", 1500*time.Millisecond))
	newLogger("text", "info", &forPeople).Info("x", zap.Duration("took", 1500*time.Millisecond))
	var line struct{ Took float64 }
	if err := json.Unmarshal(forPrograms.Bytes(), &line); err != nil || line.Took != 1.5 {
		t.Errorf("%s: %v", &forPrograms, err)
	}
	if !strings.Contains(forPeople.String(), `"1.5s"`) {
		t.Errorf("%s", &forPeople)
	}
}
