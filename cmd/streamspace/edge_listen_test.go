package main

import (
	"net"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestServingNamesAllListeners: a port of plain HTTP is not called HTTPS.
func TestServingNamesAllListeners(t *testing.T) {
	listener := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	public, redirect, admin := listener(), listener(), listener()
	for _, off := range []bool{false, true} {
		e := &edge{config: defaultEdgeConfig(), public: []net.Listener{public}, admin: admin}
		e.config.TLS.Off, e.config.Pools = off, make([]poolConfig, 2)
		want := map[string]any{"admin": admin.Addr().String(), "pools": int64(2), "routes": int64(0)}
		if off {
			want["http"] = public.Addr().String()
		} else {
			e.redirect = redirect
			want["https"], want["http"] = public.Addr().String(), redirect.Addr().String()
		}
		core, logged := observer.New(zap.InfoLevel)
		zap.New(core).Info("serving", e.serving()...)
		got := logged.All()[0].ContextMap()
		for key, value := range want {
			if got[key] != value {
				t.Errorf("tls.off %t: %s is %v, want %v", off, key, got[key], value)
			}
		}
		if _, there := got["https"]; off && there {
			t.Error("an edge without TLS names a listener of HTTPS")
		}
	}
}
