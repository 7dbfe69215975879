package main

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"slices"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// reloadOn reloads at each signal until the returned function is called, which
// closes the channel.
func (e *edge) reloadOn(hangups chan os.Signal) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for range hangups {
			_, _ = e.reload() // the log tells
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-stopped
	}
}

// reload checks the whole config and takes pools, routes, rate limits, trusted
// proxies and the certificates from it; a fault keeps what is served now. The
// access log goes over to its new file whatever the config is like: who rotates
// it has moved the old one.
func (e *edge) reload() (changed []string, err error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if err := e.access.Reopen(); err != nil {
		e.log.Error("reload: the access log could not be opened anew", zap.String("file", e.config.AccessLog.File), zap.Error(err))
	}
	if e.file == "" {
		return nil, store.Errorf(store.Invalid, "this edge was started without a config file, so there is nothing to read again")
	}
	config := defaultEdgeConfig()
	if err := loadConfig(e.file, config); err != nil {
		e.log.Error("reload: the config has faults, nothing was changed", zap.Error(err))
		var faults *configError
		if errors.As(err, &faults) {
			return nil, store.Errorf(store.Invalid, "the config has faults, nothing was changed: %v", err)
		}
		return nil, err
	}
	changed = []string{"pools", "routes", "rate_limits", "trusted_proxies"}
	var fields []zap.Field
	renewed := false
	if e.certificates != nil && !config.TLS.Off && !config.TLS.SelfSigned {
		before := e.certificates.current.Load()
		if err := e.certificates.load(config.TLS.CertFile, config.TLS.KeyFile); err != nil {
			e.log.Error("reload: the certificate can't be used, nothing was changed", zap.Error(err))
			return nil, store.Errorf(store.Invalid, "nothing was changed: %v", err)
		}
		changed = append(changed, "tls.cert_file", "tls.key_file")
		renewed = !slices.EqualFunc(before.Certificate, e.certificates.current.Load().Certificate, bytes.Equal)
		fields = append(fields, zap.String("cert_file", config.TLS.CertFile), zap.Bool("certificate_renewed", renewed))
	}
	serves := config.balancerConfig()
	differs := e.balances.ChangesTo(serves)
	e.balancer.Load(serves)
	e.balances = serves
	e.tellReload(differs, renewed, slices.DeleteFunc(changedKeys(e.config, config), func(key string) bool { return slices.Contains(changed, key) }), fields)
	return changed, nil
}

// tellReload says what a reload changed, and which keys count from the next
// start only.
func (e *edge) tellReload(differs balancer.Changes, renewed bool, later []string, fields []zap.Field) {
	for _, list := range []struct {
		name string
		what []string
	}{{"added", differs.Added}, {"changed", differs.Changed}, {"removed", differs.Removed}, {"needs_restart", later}} {
		if len(list.what) > 0 {
			fields = append(fields, zap.Strings(list.name, list.what))
		}
	}
	switch {
	case len(later) > 0:
		e.log.Warn("reload: done, but some changes of the config need a restart", fields...)
	case differs.None() && !renewed:
		e.log.Info("reload: done; nothing in the config has changed, and the files that it names were read again", fields...)
	default:
		e.log.Info("reload: done", fields...)
	}
}
