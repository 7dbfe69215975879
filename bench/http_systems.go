package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// The upstreams, and what is measured in front of them: each routes by host and
// path to a pool of two, keeps clients on their upstream by a cookie where it
// can, looks after the upstreams' health where it can, tells them who the client
// is, gives each request an id, and keeps its connections to upstreams.

const upstreamCount = 2

// startUpstreams starts one nginx with a worker that answers as all upstreams,
// and returns where they listen.
func startUpstreams(ctx context.Context, s *site) (*process, error) {
	dir := filepath.Join(s.dir, "upstreams")
	if err := os.MkdirAll(filepath.Join(dir, appPath), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, appPath, "body64k"), []byte(bigBody()), 0o600); err != nil {
		return nil, err
	}
	var listen strings.Builder
	for range upstreamCount {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		s.servers = append(s.servers, address)
		listen.WriteString("    listen " + address + " backlog=4096;\n")
	}
	config, err := s.file("upstreams.conf", nginxHead(dir, 1)+`  sendfile on;
  open_file_cache max=16 inactive=1h;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  server {
`+listen.String()+`    root `+dir+`;
    location = /health { return 200 "ok"; }
    location = `+appPath+`small { return 200 "`+smallBody()+`"; }
  }
}
`)
	if err != nil {
		return nil, err
	}
	p, err := launch("the upstreams", dir, nginxCommand(dir, config)...)
	if err != nil {
		return nil, err
	}
	for _, address := range s.servers {
		if err := listening(ctx, p, address); err != nil {
			p.stop(0)
			return nil, err
		}
	}
	return p, nil
}

func smallBody() string { return strings.Repeat("Hello from an upstream. ", 4) + "Bye\n" } // 100 bytes

func bigBody() string { return strings.Repeat("0123456789abcdef", 4<<10) } // 64 KiB

func startHTTPEdge(ctx context.Context, s *site, secure bool) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if s.admin, err = freeAddress(); err != nil {
		return err
	}
	var upstreams strings.Builder
	for _, u := range s.servers {
		fmt.Fprintf(&upstreams, "      - {url: \"http://%s\"}\n", u)
	}
	config, err := s.file("edge.yml", s.edgeHead(address, secure)+`pools:
  - name: app
    policy: least_connections
    affinity: {cookie: SSAFFINITY, ttl: 1h}
    health: {path: /health, interval: 15s, timeout: 5s, healthy: 2, unhealthy: 2}
    upstreams:
`+upstreams.String()+`routes:
  - {host: `+appHost+`, path: `+appPath+`, pool: app}
`)
	if err != nil {
		return err
	}
	p, err := s.run("edge", s.program, "edge", "--config", config, "--log-level", "warn")
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return listening(ctx, p, address)
}

func startHTTPHAProxy(ctx context.Context, s *site, secure bool) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if s.admin, err = freeAddress(); err != nil {
		return err
	}
	pem, scheme, cookieOnly := "", "http", ""
	if secure {
		pem, scheme, cookieOnly = s.bothFile, "https", " secure"
	}
	var servers strings.Builder
	for i, u := range s.servers {
		fmt.Fprintf(&servers, "  server upstream-%d %s cookie upstream-%[1]d\n", i, u)
	}
	config, err := s.file("haproxy.cfg", fmt.Sprintf(`global
  nbthread %d
  maxconn 9500
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
frontend web
  bind %s
  option forwardfor
  unique-id-format %%[uuid()]
  unique-id-header X-Request-Id
  http-response set-header X-Request-Id %%[unique-id]
  http-request set-header X-Forwarded-Proto %s
  http-request set-header X-Forwarded-Host %%[req.hdr(Host)]
  use_backend app if { hdr(host) -i %s } { path_beg %s }
backend app
  balance leastconn
  http-reuse always
  cookie SSAFFINITY insert indirect nocache httponly%s
  option httpchk GET /health
  default-server check inter 15s fall 2 rise 2
%sfrontend metrics
  bind %s
  http-request use-service prometheus-exporter if { path /metrics }
`, runtime.NumCPU(), haproxyBind(address, pem), scheme, appHost, appPath, cookieOnly, servers.String(), s.admin))
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return runHAProxy(ctx, s, config)
}

// startHTTPNginx starts one that has no active checks and no cookie of its own:
// both are not in the free nginx. A failed request takes an upstream out.
func startHTTPNginx(ctx context.Context, s *site, secure bool) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	cert, key := "", ""
	if secure {
		cert, key = s.certFile, s.keyFile
	}
	config, err := s.file("nginx.conf", nginxHead(s.dir, runtime.NumCPU())+`  keepalive_requests 1000000000;
  upstream app {
    zone app 64k;
    least_conn;
    server `+strings.Join(s.servers, ";\n    server ")+`;
    keepalive 512;
    keepalive_requests 1000000000;
  }
  server {
`+nginxListen(address, cert, key)+`    server_name `+appHost+`;
    location `+appPath+` {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id always;
      proxy_buffers 16 8k;
    }
  }
}
`)
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return runNginx(ctx, s, config)
}
