package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wants checks that a text has every word.
func wants(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q is missing in:\n%s", word, text)
		}
	}
}

func TestWrongConfigTellsAllFaultsWithTheirPlace(t *testing.T) {
	file := writeText(t, filepath.Join(t.TempDir(), "edge.yml"), `listen: {https: "nonsense", admin: "127.0.0.1:0"}
tls: {self_signed: true, off: true}
colour: blue
vnc:
  max_streams: many
  ticket_ttl: 5
agents: {headroom: 1.5, strategy: fastest}
direct: {allow: ["10.0.0.0/40:5900"]}
`)
	for _, check := range [][]string{{"edge", "--config", file, "--check"}, {"edge", "--config", file}} {
		status, output := runToEnd(t, check...)
		if status != 2 {
			t.Errorf("exit status %d, want 2", status)
		}
		wants(t, output,
			file+":1:", "listen.https", "nonsense",
			file+":2:", "only one of",
			file+":3:1:", "colour", "unknown key",
			file+":5:", "max_streams", `"many"`,
			file+":6:", "ticket_ttl", "with a unit",
			file+":7:", "headroom", "1.5", "strategy", "fastest", "weighted_least_connections",
			file+":8:", "10.0.0.0/40")
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"fly"}, {"edge"}, {"edge", "--config", "/does/not/exist.yml"}, {"dev", "--runtime", "nothing"}, {"dev", "--direct-allow", "everything"}, {"dev", "--listen", "here"}} {
		if status, output := runToEnd(t, args...); status != 2 || output == "" {
			t.Errorf("streamspace %v: exit status %d, want 2; output %q", args, status, output)
		}
	}
	if status, output := runToEnd(t, "--help"); status != 0 || !strings.Contains(output, "edge") {
		t.Errorf("--help: exit status %d, output %q", status, output)
	}
}

func TestTakenPortNamesTheSetting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	folder := t.TempDir()
	file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
		"listen: {https: %q, http: \"\", admin: \"\"}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\n", l.Addr(), filepath.Join(folder, "s.db")))
	status, output := runToEnd(t, "edge", "--config", file)
	if status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	wants(t, output, "listen.https", l.Addr().String(), "another program has this port")

	data := t.TempDir()
	for _, taken := range [][]string{{"--listen", "--admin"}, {"--admin", "--listen"}} {
		status, output = runToEnd(t, "dev", "--data", data, taken[0], l.Addr().String(), taken[1], "127.0.0.1:0")
		if status != 1 {
			t.Errorf("dev: exit status %d, want 1", status)
		}
		wants(t, output, taken[0], l.Addr().String(), "another program has this port")
	}
	for dir, want := range map[string]int{folder: 1, data: 0} { // the config; nothing
		if left, err := os.ReadDir(dir); err != nil || len(left) != want {
			t.Errorf("the starts that failed left %v, %v", left, err)
		}
	}
}

func TestUnreadableCertificateOrKeyNamesItsFile(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	writeCertificate(t, at("good.crt"), at("good.key"), 1)
	writeCertificate(t, at("other.crt"), at("other.key"), 2)
	writeText(t, at("garbage"), "secret words")
	writeText(t, at("broken"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHdvcmRz\n-----END PRIVATE KEY-----\n") // says the same
	for _, c := range []struct{ certificate, key, fault, words string }{
		{"good.crt", "missing", "tls.key_file", "no such file"},
		{"good.crt", ".", "tls.key_file", "is a directory"},
		{"good.crt", "garbage", "tls.key_file", "no PEM private key"},
		{"good.crt", "broken", "tls.key_file", "can't be used"},
		{"good.crt", "other.key", "tls.key_file", "do not belong together"},
		{"good.crt", "other.crt", "tls.key_file", "can't be used"},
		{"missing", "good.key", "tls.cert_file", "no such file"},
		{"garbage", "good.key", "tls.cert_file", "no PEM certificate"},
		{"good.key", "good.key", "tls.cert_file", "no PEM certificate"},
	} {
		t.Run(c.certificate+" with "+c.key, func(t *testing.T) {
			file := writeText(t, at("edge.yml"), fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\nstore: {sqlite: {path: %q}}\n", at(c.certificate), at(c.key), at("s.db")))
			status, output := runToEnd(t, "edge", "--config", file, "--check")
			if status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			faulty := map[string]string{"tls.cert_file": at(c.certificate), "tls.key_file": at(c.key)}[c.fault]
			wants(t, output, file+":1:", c.fault+": "+faulty, c.words)
			for _, secret := range []string{"secret words", "c2VjcmV0"} {
				if strings.Contains(output, secret) {
					t.Error("the key's content is in the output")
				}
			}
		})
	}
	file := writeText(t, at("edge.yml"), fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\nstore: {sqlite: {path: %q}}\n", at("good.crt"), at("good.key"), at("s.db")))
	if status, output := runToEnd(t, "edge", "--config", file, "--check"); status != 0 {
		t.Errorf("a good certificate and key: exit status %d: %s", status, output)
	}
}

func TestMissingXvncSaysWhatToInstall(t *testing.T) {
	folder := t.TempDir()
	empty := append(environment(t), "PATH="+folder)
	in := startDevWith(t, empty, filepath.Join(folder, "data"), "--runtime", "process")
	id := in.create(nil).ID
	d := in.becomes(id, "failed")
	wants(t, d.Reason, "Xtigervnc", "tigervnc-standalone-server")

	auto := startDevWith(t, empty, filepath.Join(folder, "auto"))
	wants(t, auto.process.output.String(), "built-in demo", "tigervnc-standalone-server")
	if log := auto.process.output.String(); strings.Contains(log, "INFO") {
		t.Errorf("what happens pushes the key off the screen:\n%s", log)
	}
	if width, _, err := rfbHello(auto.mustView(testContext(t), auto.running(nil).ID)); err != nil || width == 0 {
		t.Errorf("the demo desktop: width %d, %v", width, err)
	}
}

func TestBadTickets(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	id := in.running(nil).ID
	good := in.ticket(id, "control")
	ctx := testContext(t)
	conn, err := in.view(ctx, good)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	forged := good[:len(good)-6] + "AAAAAA"
	for name, ticket := range map[string]string{"used": good, "forged": forged, "garbage": "garbage", "an API key": in.APIKey} {
		if _, err := in.view(ctx, ticket); err == nil || !strings.Contains(err.Error(), "status 401") {
			t.Errorf("%s ticket: %v, want status 401", name, err)
		}
	}
	for name, query := range map[string]string{"none": "", "empty": "?token=", "two": "?token=a&token=b"} {
		status, answer, err := in.upgrade("/ws/vnc"+query, nil)
		if err != nil || status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, %v: %s", name, status, err, answer)
		}
	}
	secret := strings.SplitN(good, ".", 3)[2]
	if log := in.process.output.String(); strings.Contains(log, secret) || strings.Contains(log, forged) || strings.Count(log, in.APIKey) != 1 {
		t.Error("a ticket or the key is in the log (the key is shown once, in the welcome)")
	}
}

// upgrade makes a WebSocket handshake by hand and returns the refusal.
func (in *installation) upgrade(path string, header http.Header) (status int, body string, err error) {
	request, err := http.NewRequest("GET", in.URL+path, nil)
	if err != nil {
		return 0, "", err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		request.Header.Set(name, value)
	}
	response, err := client().Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text := &bytes.Buffer{}
	if response.StatusCode != http.StatusSwitchingProtocols {
		_, err = text.ReadFrom(response.Body)
	}
	return response.StatusCode, text.String(), err
}

func TestForeignOriginIsRefused(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	id := in.running(nil).ID
	status, body, err := in.upgrade("/ws/vnc?token="+url.QueryEscape(in.ticket(id, "control")), http.Header{"Origin": {"https://evil.example"}})
	if err != nil || status != http.StatusForbidden {
		t.Errorf("status %d, %v: %s", status, err, body)
	}
	wants(t, body, "https://evil.example", "allowed_origins")
}

// rawViewer is a viewer whose frames the test writes itself.
func (in *installation) rawViewer(id string) net.Conn {
	in.t.Helper()
	address := strings.TrimPrefix(in.URL, "https://")
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "GET /ws/vnc HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary, %s\r\n\r\n", address, in.ticket(id, "control"))
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		in.t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Sec-WebSocket-Protocol") != "binary" {
		in.t.Fatalf("status %d, subprotocol %q", response.StatusCode, response.Header.Get("Sec-WebSocket-Protocol"))
	}
	return &readAhead{Conn: conn, reader: reader}
}

type readAhead struct {
	net.Conn
	reader *bufio.Reader
}

func (c *readAhead) Read(p []byte) (int, error) { return c.reader.Read(p) }

// closeFrame reads frames until the close frame.
func closeFrame(conn net.Conn) (code int, reason string, err error) {
	reader := bufio.NewReader(conn)
	for {
		header := make([]byte, 2)
		if _, err := readFull(reader, header); err != nil {
			return 0, "", err
		}
		length := int(header[1] & 0x7f)
		switch length {
		case 126, 127:
			extended := make([]byte, map[int]int{126: 2, 127: 8}[length])
			if _, err := readFull(reader, extended); err != nil {
				return 0, "", err
			}
			length = 0
			for _, b := range extended {
				length = length<<8 | int(b)
			}
		}
		payload := make([]byte, length)
		if _, err := readFull(reader, payload); err != nil {
			return 0, "", err
		}
		if header[0]&0x0f == 8 {
			if length < 2 {
				return 1005, "", nil
			}
			return int(payload[0])<<8 | int(payload[1]), string(payload[2:]), nil
		}
	}
}

func readFull(r *bufio.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// masked is a client frame with a zero mask.
func masked(opcode byte, payload string) string {
	return string([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

func TestHostileViewersGetACloseCodeAndNobodyElseNotices(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	id := in.running(nil).ID
	ctx := testContext(t)
	for _, hostile := range []struct {
		name, sends string
		code        int
		reason      string
	}{
		{"a text frame", masked(1, "hello"), 1003, "text_frame"},
		{"garbage where RFB is expected", masked(2, "GET / HTTP/1.1\r\n"), 4400, "viewer_not_vnc"},
		{"a frame of 2^63 bytes", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1002, "protocol_error"},
		{"a frame of 2^62 bytes", "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1009, "message_too_big"},
		{"an unmasked frame", "\x82\x01a", 1002, "protocol_error"},
		{"reserved bits", "\xf2\x81\x00\x00\x00\x00a", 1002, "protocol_error"},
	} {
		t.Run(hostile.name, func(t *testing.T) {
			good := in.mustView(ctx, id)
			conn := in.rawViewer(id)
			if _, err := conn.Write([]byte(hostile.sends)); err != nil {
				t.Fatal(err)
			}
			code, reason, err := closeFrame(conn)
			if err != nil || code != hostile.code || !strings.HasPrefix(reason, hostile.reason+":") {
				t.Errorf("close %d %q, %v; want %d %s", code, reason, err, hostile.code, hostile.reason)
			}
			if _, _, err := rfbHello(good); err != nil {
				t.Errorf("a good viewer beside it: %v", err)
			}
		})
	}
}

func TestServerThatIsNoVNCServerIsSaidSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"))
			_ = conn.Close()
		}
	}()
	defer func() { _ = l.Close(); <-stopped }()
	in := startDev(t, t.TempDir(), "--runtime", "demo", "--direct-allow", "127.0.0.1/32:1-65535")
	id := in.running(map[string]any{"endpoint": l.Addr().String()}).ID
	conn := in.mustView(testContext(t), id)
	_, err = conn.Read(make([]byte, 1))
	code, reason := closeOf(err)
	if code < 1000 || !strings.HasPrefix(reason, "not_vnc:") {
		t.Errorf("close %d %q, want not_vnc", code, reason)
	}
}

func TestDirectEndpointsOutsideTheListAreRefused(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo", "--direct-allow", "127.0.0.1/32:5900-5910")
	for _, endpoint := range []string{"127.0.0.1:5911", "127.0.0.2:5900", "localhost:22", "nonsense"} {
		status, answer, err := in.try("POST", "/api/v1/sessions", map[string]any{"endpoint": endpoint}, nil)
		if err != nil || status < 400 || status >= 500 {
			t.Errorf("%s: status %d, %v: %s", endpoint, status, err, answer)
		}
		want := "direct.allow"
		if endpoint == "nonsense" {
			want = "write it like"
		}
		wants(t, string(answer), "endpoint", want)
		if n := strings.Count(string(answer), endpoint); n != 1 {
			t.Errorf("%s names %s %d times", answer, endpoint, n)
		}
	}
	// A name is looked up when it is used.
	if d := in.becomes(in.create(map[string]any{"endpoint": "example.invalid:5900"}).ID, "failed"); d.Reason == "" {
		t.Error("a session whose endpoint has no address fails without a reason")
	}
	// Only an admin may name an endpoint.
	var user struct {
		Secret string `json:"secret"`
	}
	in.call("POST", "/api/v1/keys", map[string]string{"name": "u", "role": "user", "org": "o", "owner": "u"}, http.StatusCreated, &user)
	status, answer, err := in.tryAs(user.Secret, "POST", "/api/v1/sessions", map[string]any{"endpoint": "127.0.0.1:5900"}, nil)
	if err != nil || status != http.StatusForbidden {
		t.Errorf("a user's endpoint: status %d, %v: %s", status, err, answer)
	}
}

func TestAgentWithAWrongTokenEndsWithOneClearError(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	token := writeText(t, filepath.Join(in.data, "wrong.token"), "ssk_"+strings.Repeat("x", 43)+pinOf(t, in))
	status, output := runToEnd(t, "agent", "--edge", in.URL, "--token-file", token, "--runtime", "demo", "--data", filepath.Join(in.data, "other"), "--name", "other")
	if status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	wants(t, output, "the join token is not valid", "token_file")
	in.agentsOnline(1)
}

// pinOf is the part of the join token that names the edge's key.
func pinOf(t *testing.T, in *edgeAndAgent) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(in.data, "edge", "join.token"))
	if err != nil {
		t.Fatal(err)
	}
	_, pin, _ := strings.Cut(strings.TrimSpace(string(text)), "@")
	return "@" + pin
}

func TestAgentWithAnotherAgentsIDIsRefused(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	text, err := os.ReadFile(filepath.Join(in.data, "agent", "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var identity map[string]string
	if err := json.Unmarshal(text, &identity); err != nil {
		t.Fatal(err)
	}
	for name, value := range identity {
		if strings.Contains(name, "key") { // the thief knows the id, which is no secret, but not the key
			identity[name] = strings.Repeat("A", len(value))
		}
	}
	stolen, err := json.Marshal(identity)
	if err != nil {
		t.Fatal(err)
	}
	thief := filepath.Join(in.data, "thief")
	if err := os.MkdirAll(thief, 0o700); err != nil {
		t.Fatal(err)
	}
	writeText(t, filepath.Join(thief, "identity.json"), string(stolen))
	status, output := runToEnd(t, "agent", "--edge", in.URL, "--token-file", filepath.Join(in.data, "edge", "join.token"), "--runtime", "demo", "--data", thief)
	if status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	wants(t, output, "belongs to another host", "identity.json")
	in.running(nil) // the real one still serves
}

func TestAgentOfAnotherEdgeIsNotTrusted(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}", "")
	token := writeText(t, filepath.Join(in.data, "pin.token"), "ssk_"+strings.Repeat("x", 43)+"@sha256:"+strings.Repeat("0", 64))
	agent := start(t, "agent", "--edge", in.URL, "--token-file", token, "--runtime", "demo", "--data", filepath.Join(in.data, "other"))
	eventually(t, "the agent says that the edge's key is another one", func() error {
		if output := agent.output.String(); !strings.Contains(output, "the join token expects") {
			return fmt.Errorf("its output is %q", output)
		}
		return nil
	})
}

func TestTextOverTheAPIIsRefusedInWords(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	for body, field := range map[string]string{`{"colour":"blue"}`: "colour", `{"width":"wide"}`: "width", `{"width":-1}`: "width", `{"name":1}`: "name"} {
		status, answer, err := in.try("POST", "/api/v1/sessions", json.RawMessage(body), nil)
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: status %d, %v", body, status, err)
		}
		wants(t, string(answer), field, "request_id", `"code"`)
	}
	if status, _, _ := in.tryAs("ssk_wrong", "GET", "/api/v1/sessions", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("a wrong key is answered %d", status)
	}
}

func TestUnusableDatabaseNamesItsPath(t *testing.T) {
	folder := t.TempDir()
	database := writeText(t, filepath.Join(folder, "streamspace.db"), strings.Repeat("this is no database ", 100))
	file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
		"listen: {https: \"127.0.0.1:0\", http: \"\", admin: \"\"}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\n", database))
	status, output := runToEnd(t, "edge", "--config", file)
	if status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	wants(t, output, "store.sqlite.path", database)
}

// TestAFolderThatCannotBeMadeNamesItsSetting, whichever part of the edge needs
// it first.
func TestAFolderThatCannotBeMadeNamesItsSetting(t *testing.T) {
	folder := t.TempDir()
	inFile := filepath.Join(writeText(t, filepath.Join(folder, "file"), ""), "data") // not even root makes that
	status, output := runToEnd(t, "dev", "--data", inFile, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if status != 1 {
		t.Errorf("dev: exit status %d, want 1", status)
	}
	wants(t, output, "--data: ", filepath.Dir(inFile))
	for tls, listen := range map[string]string{
		"self_signed": `https: "127.0.0.1:0", http: ""`,
		"off":         `http: "127.0.0.1:0"`,
	} {
		file := writeText(t, filepath.Join(folder, tls+".yml"), fmt.Sprintf(
			"listen: {%s, admin: \"\"}\ntls: {%s: true}\nstore: {sqlite: {path: %q}}\n", listen, tls, filepath.Join(inFile, "s.db")))
		status, output := runToEnd(t, "edge", "--config", file)
		if status != 1 {
			t.Errorf("%s: exit status %d, want 1", tls, status)
		}
		wants(t, output, "store.sqlite.path: ", filepath.Dir(inFile))
	}
}

// TestRetryWithItsKeyGetsTheSameSession: also when there is no room any more.
func TestRetryWithItsKeyGetsTheSameSession(t *testing.T) {
	in := startEdgeAndAgent(t, "  - {name: demo, type: demo}\ncapacity: 1", "")
	header := http.Header{"Idempotency-Key": {"once"}}
	var first, again desktop
	for _, into := range []*desktop{&first, &again} {
		status, answer, err := in.try("POST", "/api/v1/sessions", map[string]any{}, header)
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("status %d, %v: %s", status, err, answer)
		}
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatal(err)
		}
	}
	if first.ID != again.ID {
		t.Errorf("the retry made session %s beside %s", again.ID, first.ID)
	}
	status, answer, err := in.try("POST", "/api/v1/sessions", map[string]any{}, nil)
	if err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("a session without room: status %d, %v", status, err)
	}
	wants(t, string(answer), "no_agent", "full")
}
