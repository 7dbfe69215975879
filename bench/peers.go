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

// haproxyBind is a door; without a certificate it is plain.
func haproxyBind(listen, pem string) string {
	if pem == "" {
		return listen
	}
	return listen + " ssl crt " + pem + " alpn http/1.1 curves X25519"
}

func haproxyConfig(listen string, backends []string, pem string) string {
	var servers strings.Builder
	for i, b := range backends {
		fmt.Fprintf(&servers, "  server desktop-%d %s\n", i, b)
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
  bind ` + haproxyBind(listen, pem) + `
  default_backend desktops
backend desktops
  balance roundrobin
` + servers.String()
}

func nginxConfig(dir, listen string, backends []string, cert, key string) string {
	return nginxHead(dir, 2) + `  upstream desktops { server ` + strings.Join(backends, "; server ") + `; }
  server {
` + nginxListen(listen, cert, key) + `    location / {
      proxy_pass http://desktops;
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
`
}

// nginxHead is what every config begins with, into the block of http.
func nginxHead(dir string, workers int) string {
	own := ""
	if os.Getuid() == 0 {
		if me, err := user.Current(); err == nil {
			own = "user " + me.Username + ";\n" // its default user may not enter the folder
		}
	}
	return fmt.Sprintf(`%[2]sworker_processes %[3]d;
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
`, dir, own, workers)
}

// nginxListen is a server's door; without a certificate it is plain.
func nginxListen(listen, cert, key string) string {
	if cert == "" {
		return "    listen " + listen + " backlog=4096;\n"
	}
	return fmt.Sprintf(`    listen %s ssl backlog=4096;
    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
`, listen, cert, key)
}

func startHAProxy(ctx context.Context, s *site, secure bool, backends []string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	pem := ""
	if secure {
		pem = s.bothFile
	}
	config, err := s.file("haproxy.cfg", haproxyConfig(address, backends, pem))
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return runHAProxy(ctx, s, config)
}

// runHAProxy waits until the door is open.
func runHAProxy(ctx context.Context, s *site, config string) error {
	p, err := s.run("haproxy", findProgram("haproxy"), "-db", "-f", config)
	if err != nil {
		return err
	}
	return listening(ctx, p, s.door.Address)
}

func startNginx(ctx context.Context, s *site, secure bool, backends []string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	cert, key := "", ""
	if secure {
		cert, key = s.certFile, s.keyFile
	}
	config, err := s.file("nginx.conf", nginxConfig(s.dir, address, backends, cert, key))
	if err != nil {
		return err
	}
	s.door = door{Address: address, TLS: secure}
	return runNginx(ctx, s, config)
}

// runNginx waits until the door is open.
func runNginx(ctx context.Context, s *site, config string) error {
	p, err := s.run("nginx", nginxCommand(s.dir, config)...)
	if err != nil {
		return err
	}
	return listening(ctx, p, s.door.Address)
}

func nginxCommand(dir, config string) []string {
	return []string{findProgram("nginx"), "-c", config, "-e", "stderr", "-p", dir}
}

// websockifyViewers is how many viewers one websockify serves with room to
// spare: it keeps two descriptors for each and waits with select(2), which ends
// at 1,024, so the 507th viewer is dropped.
const websockifyViewers = 400

// startWebsockify starts as many as the viewers need, and returns where they
// listen.
func startWebsockify(ctx context.Context, s *site, backend string) (addresses []string, err error) {
	for n := 0; n < s.viewers; n += websockifyViewers {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p, err := s.run("websockify", findProgram("websockify"), address, backend)
		if err != nil {
			return nil, err
		}
		if err := listening(ctx, p, address); err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
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
