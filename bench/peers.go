package bench

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// The configs of the peers: what a careful operator writes, with a worker for
// each of two cores and no access log.

func haproxyConfig(listen, backend, pem string) string {
	bind := listen
	if pem != "" {
		bind += " ssl crt " + pem + " alpn http/1.1 curves X25519"
	}
	return `global
  nbthread 2
  maxconn 9500
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  timeout connect 30s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend viewers
  bind ` + bind + `
  default_backend desktops
backend desktops
  server one ` + backend + `
`
}

func nginxConfig(dir, listen, backend, cert, key string) string {
	var b strings.Builder
	if os.Getuid() == 0 {
		if me, err := user.Current(); err == nil {
			fmt.Fprintf(&b, "user %s;\n", me.Username) // its own user may not enter the folder
		}
	}
	fmt.Fprintf(&b, `worker_processes 2;
worker_rlimit_nofile 20000;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 19000; }
http {
  access_log off;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  server {
`, dir)
	if cert != "" {
		fmt.Fprintf(&b, `    listen %s ssl backlog=4096;
    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
`, listen, cert, key)
	} else {
		fmt.Fprintf(&b, "    listen %s backlog=4096;\n", listen)
	}
	fmt.Fprintf(&b, `    location / {
      proxy_pass http://%s;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header Host $http_host;
      proxy_buffering off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }
  }
}
`, backend)
	return b.String()
}

func startHAProxy(ctx context.Context, s *site, secure bool, backend string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	pem := ""
	if secure {
		pem = s.bothFile
	}
	config, err := s.file("haproxy.cfg", haproxyConfig(address, backend, pem))
	if err != nil {
		return err
	}
	p, err := s.run("haproxy", findProgram("haproxy"), "-db", "-f", config)
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return listening(ctx, p, address)
}

func startNginx(ctx context.Context, s *site, secure bool, backend string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	cert, key := "", ""
	if secure {
		cert, key = s.certFile, s.keyFile
	}
	config, err := s.file("nginx.conf", nginxConfig(s.dir, address, backend, cert, key))
	if err != nil {
		return err
	}
	p, err := s.run("nginx", findProgram("nginx"), "-c", config, "-e", "stderr", "-p", s.dir)
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return listening(ctx, p, address)
}

func startWebsockify(ctx context.Context, s *site, backend string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	p, err := s.run("websockify", findProgram("websockify"), address, backend)
	if err != nil {
		return err
	}
	s.door = door{Address: address}
	return listening(ctx, p, address)
}

// findProgram is where a program is installed, also in the folders that only
// root's shell searches; empty: it is not.
func findProgram(name string) string {
	folders := append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/sbin")
	for _, folder := range folders {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}
