package main

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/listen"
)

// TestAnAddressHasOnlySoManyConnections: those that are too many are closed at
// once, one that ends makes room, and proxies are not counted.
func TestAnAddressHasOnlySoManyConnections(t *testing.T) {
	for _, proxy := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		registry := prometheus.NewRegistry()
		crowd := newCrowd(3, func(netip.Addr) bool { return proxy }, registry)
		accepted := make(chan net.Conn, 16)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := crowdListener{l, crowd}.Accept()
				if err != nil {
					return
				}
				accepted <- conn
			}
		}()
		dial := func() net.Conn {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			return conn
		}
		var near []net.Conn
		for range 3 {
			defer dial().Close()
			near = append(near, <-accepted)
		}
		fourth, err := net.Dial("tcp", l.Addr().String()) // the end may come before dialling is over
		if err == nil {
			_ = fourth.SetDeadline(time.Now().Add(10 * time.Second))
			defer fourth.Close()
		}
		if proxy {
			near = append(near, <-accepted)
		} else if err == nil {
			if n, err := fourth.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("the fourth got %d bytes, %v", n, err)
			}
		}
		_, _ = near[0].Close(), near[0].Close()
		defer dial().Close()
		near[0] = <-accepted
		for _, conn := range near {
			conn.Close()
		}
		l.Close()
		<-ended
		if len(crowd.here) != 0 {
			t.Errorf("without connections it holds %v", crowd.here)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if refused := families[0].GetMetric()[0].GetCounter().GetValue(); (refused == 1) == proxy {
			t.Errorf("proxy %v: %v were refused", proxy, refused)
		}
	}
}

// TestWhoLingersIsCounted: until the connection is closed.
func TestWhoLingersIsCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	crowd := newCrowd(1, func(netip.Addr) bool { return false }, prometheus.NewRegistry())
	var lingering listen.Lingering
	from := netip.MustParsePrefix("127.0.0.1/32")
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listen.Listen(crowdListener{l, crowd}, listen.Options{Lingering: &lingering}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	listen.Linger(conn)
	_ = conn.Close()
	if crowd.enter(from) {
		t.Error("it is not counted")
	}
	lingering.Close()
	if !crowd.enter(from) {
		t.Error("it is counted when it is closed")
	}
}

func TestIPv6ClientsOwnTheir64(t *testing.T) {
	crowd := newCrowd(1, func(netip.Addr) bool { return false }, prometheus.NewRegistry())
	a := netip.MustParsePrefix("2001:db8::/64")
	if !crowd.enter(a) || crowd.enter(a) || !crowd.enter(netip.MustParsePrefix("2001:db8:0:1::/64")) {
		t.Error(fmt.Sprint(crowd.here))
	}
}
