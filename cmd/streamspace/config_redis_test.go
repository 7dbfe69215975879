package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func redisOf(t *testing.T, text string) (*redisConfig, error) {
	t.Helper()
	config := defaultEdgeConfig()
	err := parseConfig("edge.yml", []byte(smallestEdge+text), config)
	return config.Redis, err
}

func TestFaultsOfRedis(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"redis: {}":                                                                 `edge.yml:2:8: redis.addrs: at least one is needed, like "10.0.0.5:6379"`,
		"redis: {addrs: [redis1]}":                                                  `edge.yml:2:17: redis.addrs[0]: "redis1" is not an address`,
		"redis: {addrs: [\":6379\"]}":                                               `edge.yml:2:17: redis.addrs[0]: ":6379" is not an address`,
		"redis: {addrs: [\"a:1\", \"redis://b:1\"]}":                                `edge.yml:2:24: redis.addrs[1]: "redis://b:1" is not an address`,
		"redis: {addrs: [\"a:1\"], password: x}":                                    "edge.yml:2:25: redis.password: unknown key; here are allowed: addrs, cluster, db, key_prefix, password_file",
		"redis: {addrs: [\"a:1\", \"b:1\"], db: 1}":                                 "edge.yml:2:36: redis.db: 1 can't be used: a Redis Cluster has database 0 only",
		"redis: {addrs: [\"a:1\"], cluster: true, db: 1}":                           "redis.db: 1 can't be used",
		"redis: {addrs: [\"a:1\"], db: -1}":                                         "redis.db: -1 is too small",
		"redis: {addrs: [\"a:1\"], cluster: true, sentinel_master: desk}":           "redis.cluster: has no meaning with sentinel_master",
		"redis: {addrs: [\"a:1\"], username: edge}":                                 "edge.yml:2:8: redis.password_file: is missing beside username",
		"redis: {addrs: [\"a:1\"], password_file: /does/not/exist}":                 "edge.yml:2:40: redis.password_file: can't be read: open /does/not/exist",
		"redis: {addrs: [\"a:1\"], password_file: " + empty + "}":                   "redis.password_file: " + empty + " is empty",
		"redis: {addrs: [\"a:1\"], sentinel_password_file: " + secret + "}":         "redis.sentinel_master: is missing beside sentinel_username",
		"redis: {addrs: [\"a:1\"], sentinel_master: m, sentinel_username: x}":       "redis.sentinel_password_file: is missing",
		"redis: {addrs: [\"a:1\"], key_prefix: \"{a}\"}":                            `edge.yml:2:37: redis.key_prefix: "{a}" has a brace`,
		"redis: {addrs: [\"a:1\"], timeout: 1ms}":                                   "edge.yml:2:34: redis.timeout: 1ms is too short; at least 10ms",
		"redis: {addrs: [\"a:1\"], timeout: 1m}":                                    "redis.timeout: 1m0s is too long",
		"redis: {addrs: [\"a:1\"], tls: {ca_file: /does/not/exist}}":                "edge.yml:2:40: redis.tls.ca_file: /does/not/exist can't be read",
		"redis: {addrs: [\"a:1\"], tls: {cert_file: /does/not/exist}}":              "redis.tls.key_file: is missing beside cert_file",
		"redis: {addrs: [\"a:1\"], tls: {key_file: /does/not/exist}}":               "redis.tls.cert_file: is missing beside key_file",
		"redis: {addrs: [\"a:1\"], tls: {key_file: /not/here, cert_file: /nor/me}}": "redis.tls.cert_file: /nor/me can't be read",
	} {
		_, err := redisOf(t, text)
		var faults *configError
		if !errors.As(err, &faults) || len(faults.Faults) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestWhatTheConfigSaysOfRedisIsUsed(t *testing.T) {
	if c, err := redisOf(t, ""); c != nil || err != nil {
		t.Errorf("without redis: %+v, %v", c, err)
	}
	file := filepath.Join(t.TempDir(), "password")
	password := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	password("first")
	c, err := redisOf(t, fmt.Sprintf(`redis:
  addrs: ["10.0.0.1:26379", "10.0.0.2:26379"]
  sentinel_master: desk
  username: edge
  password_file: %[1]s
  sentinel_username: watcher
  sentinel_password_file: %[1]s
  tls: {server_name: redis.example.org}
  db: 3
  timeout: 2s
`, file))
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.options()
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Addrs) != 2 || o.SentinelMaster != "desk" || o.Username != "edge" || o.SentinelUsername != "watcher" ||
		o.SentinelPassword != "first" || o.TLS == nil || o.TLS.ServerName != "redis.example.org" || o.TLS.InsecureSkipVerify ||
		o.DB != 3 || o.KeyPrefix != "streamspace:" || o.Timeout != 2*time.Second || o.Cluster {
		t.Errorf("%+v", o)
	}
	password("second") // without a restart
	if got, err := o.Password(); got != "second" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	c, err = redisOf(t, `redis: {addrs: ["10.0.0.1:6379"], cluster: true, key_prefix: ""}`)
	if err != nil {
		t.Fatal(err)
	}
	if o, err = c.options(); err != nil || o.KeyPrefix != "" || !o.Cluster || o.TLS != nil || o.Password != nil {
		t.Errorf("%+v, %v", o, err)
	}
}
