//go:build !linux

package agent

import (
	"context"
	"errors"
	"time"
)

func errNotLinux() error {
	return errors.New("the runtime type " + TypeProcess + " needs Linux")
}

func checkProcesses() error { return errNotLinux() }

// Keep fails: there are no keepers but on Linux.
func Keep() error { return errNotLinux() }

func bootID() (string, error) { return "", errNotLinux() }

// sinceBoot stands still, so no lease runs out: no desktop outlives its agent.
func sinceBoot() time.Duration { return 0 }

func processOf(int) (process, error) { return process{}, errNotLinux() }

func (process) alive() bool { return false }

func (process) wait(context.Context) error { return errNotLinux() }

func markedSessions(string) (map[string]bool, error) { return nil, nil }

func unmountBeneath(string) error { return nil }

type tree struct{}

func newTree(string, string, ...process) *tree { return &tree{} }

func (*tree) end(context.Context, *process) error { return nil }
