//go:build !linux

package bench

import "os/exec"

type hostUser struct{}

func databaseHostUser() (*hostUser, error) { return nil, supported() }
func (*hostUser) own(string) error         { return nil }
func (*hostUser) run(*exec.Cmd)            {}
