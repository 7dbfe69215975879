package main

import (
	"os"
	"os/signal"

	"go.uber.org/zap"
)

// reloadOn reloads at each signal until the returned function is called, which
// closes the channel.
func (e *edge) reloadOn(hangups chan os.Signal, file string) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for range hangups {
			e.reload(file)
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-stopped
	}
}

// reload checks the whole config and takes the certificates from it; a fault
// keeps what is served now.
func (e *edge) reload(file string) {
	config := defaultEdgeConfig()
	if err := loadConfig(file, config); err != nil {
		e.log.Error("reload: the config has faults, nothing was changed", zap.Error(err))
		return
	}
	if e.certificates == nil || config.TLS.Off || config.TLS.SelfSigned {
		e.log.Info("reload: the config is valid; there are no certificate files to reload")
		return
	}
	if err := e.certificates.load(config.TLS.CertFile, config.TLS.KeyFile); err != nil {
		e.log.Error("reload: the certificate was not changed", zap.Error(err))
		return
	}
	e.log.Info("reload: new connections get the certificate of now; other changes of the config need a restart",
		zap.String("cert_file", config.TLS.CertFile))
}
