//go:build !linux

package reactor

func newPoller(func(change int)) (poller, error) { return newNotifier(), nil }
