//go:build !linux

package reactor

func newPoller() (poller, error) { return newNotifier(), nil }
