package session

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAnOutageIsToldOnce(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	o := outage{log: zap.New(core), failed: "it fails", over: "it works again"}
	ended, end := context.WithCancel(context.Background())
	end()
	o.tell(ended, context.Canceled)
	for _, err := range []error{nil, errors.New("a"), errors.New("b"), nil, nil, errors.New("c")} {
		o.tell(context.Background(), err)
	}
	var told []string
	for _, entry := range logs.All() {
		told = append(told, entry.Message)
	}
	if got, want := fmt.Sprint(told), "[it fails it works again it fails]"; got != want {
		t.Errorf("the log has %s, want %s", got, want)
	}
}
