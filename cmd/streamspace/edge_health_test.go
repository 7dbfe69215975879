package main

import (
	"errors"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestADatabaseThatIsAwayIsToldOnce(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(core)
	var d databaseHealth
	said := func(word string, err error, want ...zapcore.Level) {
		t.Helper()
		for range 3 {
			d.tell(log, word, err)
		}
		var got []zapcore.Level
		for _, l := range logs.TakeAll() {
			got = append(got, l.Level)
			if err != nil && l.ContextMap()["error"] != err.Error() {
				t.Errorf("%s: the log does not say why: %v", word, l.ContextMap())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: logged %v, want %v", word, got, want)
		}
	}
	said(databaseConnected, nil)
	for range 2 {
		said("unavailable", errors.New("connection refused"), zapcore.WarnLevel)
		said("disk_full", errors.New("no space left"), zapcore.WarnLevel)
		said(databaseConnected, nil, zapcore.InfoLevel)
	}
}
