//go:build !linux

package agent

import (
	"context"
	"errors"
)

func errNotLinux() error {
	return errors.New("the runtime type " + TypeProcess + " needs Linux")
}

func checkProcesses() error { return errNotLinux() }

// Keep fails: there are no keepers but on Linux.
func Keep() error { return errNotLinux() }

func bootID() (string, error) { return "", errNotLinux() }

func processOf(int) (process, error) { return process{}, errNotLinux() }

func (process) alive() bool { return false }

func (process) wait(context.Context) error { return errNotLinux() }

func markedSessions(string) (map[string]bool, error) { return nil, nil }

func unmountBeneath(string) error { return nil }

type tree struct{}

func newTree(string, ...process) *tree { return &tree{} }

func (*tree) end(context.Context, *process) error { return nil }
