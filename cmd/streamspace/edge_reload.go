package main

import (
	"errors"
	"os"
	"os/signal"

	"go.uber.org/zap"

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
	if e.certificates != nil && !config.TLS.Off && !config.TLS.SelfSigned {
		if err := e.certificates.load(config.TLS.CertFile, config.TLS.KeyFile); err != nil {
			e.log.Error("reload: the certificate can't be used, nothing was changed", zap.Error(err))
			return nil, store.Errorf(store.Invalid, "nothing was changed: %v", err)
		}
		changed = append(changed, "tls.cert_file", "tls.key_file")
	}
	e.balancer.Load(config.balancerConfig())
	e.log.Info("reload: done; other changes of the config need a restart", zap.Strings("changed", changed), zap.String("cert_file", config.TLS.CertFile))
	return changed, nil
}
