package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

// masterOf is the server that has the key.
func masterOf(t *testing.T, all []*redistest.Server, key string) *redistest.Server {
	t.Helper()
	for _, s := range all {
		info, err := s.Client().Info(t.Context(), "replication").Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "role:master") && s.Client().Exists(t.Context(), key).Val() == 1 {
			return s
		}
	}
	t.Fatalf("no master has %s", key)
	return nil
}

// role waits until the server has it.
func role(t *testing.T, s *redistest.Server, want string) {
	t.Helper()
	redistest.Eventually(t, "it becomes a "+want, func() error {
		info, err := s.Client().Info(t.Context(), "replication").Result()
		if err == nil && !strings.Contains(info, "role:"+want) {
			err = errors.New(info)
		}
		return err
	})
}

func TestSentinelsReplaceTheMaster(t *testing.T) {
	all := redistest.StartSentinels(t)
	o := hasty(options(t, all.Addrs...))
	o.SentinelMaster = redistest.MasterName
	a, b := open(t, o), open(t, o)
	hold(t, a, store.Lease{Kind: "node", ID: "a", Generation: 1})
	if n := leases(t, b); n != 1 {
		t.Fatalf("%d leases", n)
	}
	events := b.Subscribe(t.Context())
	masterOf(t, all.Servers, o.KeyPrefix+"lease:probe").Kill()
	until(t, events, isResync)
	works(t, a, b)
	if n := leases(t, b); n != 1 {
		t.Errorf("%d leases after the failover", n)
	}
}

func TestAMasterThatStopsAndComesBackAsAReplica(t *testing.T) {
	all := redistest.StartSentinels(t)
	o := hasty(options(t, all.Addrs...))
	o.SentinelMaster = redistest.MasterName
	a, b := open(t, o), open(t, o)
	old := masterOf(t, all.Servers, o.KeyPrefix+"lease:probe")
	events := b.Subscribe(t.Context())
	old.Pause()
	until(t, events, isResync)
	works(t, a, b) // with the new master
	old.Resume()
	role(t, old, "slave")
	works(t, a, b)
}

func TestAClusterReplacesAMaster(t *testing.T) {
	all := redistest.StartCluster(t, 3, 3)
	o := hasty(options(t, all.Addrs...))
	a, b := open(t, o), open(t, o)
	hold(t, a, store.Lease{Kind: "node", ID: "a", Generation: 1})
	if n := leases(t, b); n != 1 {
		t.Fatalf("%d leases", n)
	}
	all.Servers[0].Kill()
	role(t, all.Servers[3], "master")
	works(t, a, b)
	if n := leases(t, b); n != 1 {
		t.Errorf("%d leases after the failover", n)
	}
}

func TestAClusterWithoutShardedPubSub(t *testing.T) {
	all := redistest.StartCluster(t, 3, 0, "rename-command SPUBLISH \"\"", "rename-command SSUBSCRIBE \"\"")
	o := options(t, all.Addrs[0])
	o.Cluster = true
	works(t, open(t, o), open(t, o))
}

func TestRedisBehindTLSAndAPassword(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	server := redistest.Start(t, "tls-cert-file "+filepath.Join(dir, "cert.pem"), "tls-key-file "+filepath.Join(dir, "key.pem"),
		"tls-auth-clients no", "user default off", "user edge on >secret-1 ~* &* +@all")
	o := options(t, server.Addr)
	o.TLS = &tls.Config{RootCAs: roots}
	o.Username = "edge"
	o.Password = func() (string, error) { return "secret-1", nil }
	a, b := open(t, o), open(t, o)
	works(t, a, b)

	wrong := hasty(o)
	wrong.Password = func() (string, error) { return "secret-2", nil }
	err := open(t, wrong).Ping(t.Context())
	if store.CodeOf(err) != store.Unavailable || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a wrong password: %v", err)
	}
	gone := hasty(o)
	gone.Password = func() (string, error) { return "", os.ErrNotExist }
	if err := open(t, gone).Ping(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a password that can't be read: %v", err)
	}
	strange := hasty(o)
	strange.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	if err := open(t, strange).Ping(t.Context()); store.CodeOf(err) != store.Unavailable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody we trust: %v", err)
	}
}

// TestTheRightsThatTheDocsNameAreEnough: docs/config.md has them.
func TestTheRightsThatTheDocsNameAreEnough(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile("A user of Redis needs `(.+?)`, in a\\sCluster also `(.+?)`").FindStringSubmatch(string(page))
	if match == nil {
		t.Fatal("docs/config.md does not say what a user of Redis needs")
	}
	user := "user edge on >secret " + match[1]
	alone, cluster := redistest.Start(t, user), redistest.StartCluster(t, 2, 0, user+" "+match[2])
	for name, addrs := range map[string][]string{"one server": {alone.Addr}, "a Cluster": cluster.Addrs} {
		o := options(t, addrs...)
		o.KeyPrefix, o.Username = "streamspace:", "edge"
		o.Password = func() (string, error) { return "secret", nil }
		a, b := open(t, o), open(t, o)
		works(t, a, b)
		if taken, err := a.Take(t.Context(), "bucket", store.Rate{Count: 1, Per: time.Hour, Burst: 1}); err != nil || !taken.OK {
			t.Errorf("%s: %+v, %v", name, taken, err)
		}
		if taken, err := b.Take(t.Context(), "bucket", store.Rate{Count: 1, Per: time.Hour, Burst: 1}); err != nil || taken.OK {
			t.Errorf("%s: a bucket is not shared: %+v, %v", name, taken, err)
		}
		if _, err := a.Generation(t.Context(), "node", "a"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.Release(t.Context(), "node", "a", 1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// writeCertificate makes one for 127.0.0.1 that is its own root.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}
