package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// backend is a small web server in a process of its own, this test binary, so
// that it can be killed. What it has served is in its journal, which outlives it.
type backend struct {
	t       *testing.T
	name    string
	address string
	journal string
	process *exec.Cmd
}

const backendVariable = "STREAMSPACE_E2E_BACKEND" // NAME ADDRESS JOURNAL

func newBackend(t *testing.T, name string) *backend {
	b := &backend{t: t, name: name, address: freePort(t), journal: filepath.Join(t.TempDir(), name)}
	t.Cleanup(b.kill)
	b.start()
	return b
}

func (b *backend) start() {
	b.t.Helper()
	b.process = exec.Command(os.Args[0])
	b.process.Env = append(os.Environ(), backendVariable+"="+strings.Join([]string{b.name, b.address, b.journal}, " "))
	b.process.Stderr = b.t.Output()
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	eventually(b.t, "backend "+b.name+" listens", func() error {
		conn, err := net.Dial("tcp", b.address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// kill is kill -9, waited for.
func (b *backend) kill() {
	if b.process != nil {
		_ = b.process.Process.Signal(syscall.SIGKILL)
		_ = b.process.Wait()
		b.process = nil
	}
}

// say sets what its health answers say of its weight from now on.
func (b *backend) say(weight string) {
	b.t.Helper()
	response, err := client().Post("http://"+b.address+"/say?weight="+weight, "", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = response.Body.Close()
}

// served counts its requests by the id that the client gave them.
func (b *backend) served() map[string]int {
	text, err := os.ReadFile(b.journal)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	counts := map[string]int{}
	for id := range strings.FieldsSeq(string(text)) {
		counts[id]++
	}
	return counts
}

// serveAsBackend makes this process a backend, until it is killed, if it is to be
// one.
func serveAsBackend() bool {
	words := strings.Fields(os.Getenv(backendVariable))
	if len(words) != 3 {
		return false
	}
	journal, err := os.OpenFile(words[2], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe(words[1], backendPages(words[0], journal)))
	os.Exit(1)
	return true
}

func backendPages(name string, journal io.Writer) http.Handler {
	var weight atomic.Value
	weight.Store("")
	pages := http.NewServeMux()
	pages.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if said := weight.Load().(string); said != "" {
			w.Header().Set("Streamspace-Weight", said)
		}
	})
	pages.HandleFunc("/say", func(w http.ResponseWriter, r *http.Request) { weight.Store(r.FormValue("weight")) })
	pages.HandleFunc("/app/ws", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Backend", name)
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		conn.SetReadLimit(-1)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	})
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintln(journal, r.Header.Get("X-Trial")) // one write, so that it is there or not
		if wait, err := time.ParseDuration(r.FormValue("wait")); err == nil {
			time.Sleep(wait) // so that there are requests under way at any moment
		}
		size, _ := strconv.Atoi(r.FormValue("size"))
		sum := sha256.Sum256(body)
		w.Header().Set("X-Backend", name)
		w.Header().Set("X-Got", hex.EncodeToString(sum[:]))
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = io.WriteString(w, strings.Repeat(name, size))
	})
	return pages
}

// startFileNginx serves a small and a large file, and tells in a journal what it
// served.
func startFileNginx(t *testing.T) (address, journal string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "ss-nginx-") // its worker is another user
	if err != nil {
		t.Fatal(err)
	}
	address, journal = freePort(t), filepath.Join(folder, "journal")
	for name, size := range map[string]int{"small": 100, "large": 64 << 10} {
		writeText(t, filepath.Join(folder, name), strings.Repeat("n", size))
	}
	conf := writeText(t, filepath.Join(folder, "nginx.conf"), fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
events {}
http {
  log_format ids '$http_x_trial'; access_log %[1]s/journal ids;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[2]s; location /files/ { alias %[1]s/; } location = /health { access_log off; return 200; } }
}`, folder, address))
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not every shell searches there
	}
	server := exec.Command(program, "-c", conf, "-e", "stderr", "-p", folder)
	server.Stderr = t.Output()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		_ = os.RemoveAll(folder)
	})
	eventually(t, "nginx listens", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return address, journal
}

// startEcho is a TCP server that says what it hears.
func startEcho(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}
