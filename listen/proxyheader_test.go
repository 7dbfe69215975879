package listen

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

func headerOf(t testing.TB, version byte, source, destination string) []byte {
	t.Helper()
	addr := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	b, err := proxyproto.HeaderProxyFromAddrs(version, addr(source), addr(destination)).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// accepted is the server's end of a connection from 127.0.0.1 that proxies may
// begin, after the client has sent each piece.
func accepted(t *testing.T, proxies string, pieces ...string) (*Conn, chan error) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	refused := make(chan error, 1)
	o := Options{Body: time.Minute, Write: time.Minute, Refused: func(_ net.Addr, why error) { refused <- why }}
	o.Proxies = []netip.Prefix{netip.MustParsePrefix(proxies)}
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Listen(tcp, o).Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, piece := range pieces {
			if _, err := io.WriteString(client, piece); err != nil {
				return
			}
		}
		_ = client.(*net.TCPConn).CloseWrite()
	}()
	t.Cleanup(func() { client.Close(); conn.Close(); <-sent })
	return conn.(*Conn), refused
}

func TestTheAddressInAPROXYHeaderIsTheClients(t *testing.T) {
	const client, server = "192.0.2.7:1234", "192.0.2.1:443"
	local := string([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	for name, c := range map[string]struct {
		pieces []string
		remote string // "": the socket's
	}{
		"version 1":       {[]string{string(headerOf(t, 1, client, server)), "hello"}, client},
		"version 1, IPv6": {[]string{string(headerOf(t, 1, "[2001:db8::7]:1234", "[2001:db8::1]:443")), "hello"}, "[2001:db8::7]:1234"},
		"version 2":       {[]string{string(headerOf(t, 2, client, server)), "hello"}, client},
		"version 2, IPv6": {[]string{string(headerOf(t, 2, "[2001:db8::7]:1234", "[2001:db8::1]:443")), "hello"}, "[2001:db8::7]:1234"},
		"in one piece":    {[]string{string(headerOf(t, 2, client, server)) + "hello"}, client},
		"byte by byte":    {strings.Split(string(headerOf(t, 1, client, server))+"hello", ""), client},
		"UNKNOWN":         {[]string{"PROXY UNKNOWN\r\nhello"}, ""},
		"LOCAL":           {[]string{local + "hello"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := accepted(t, "127.0.0.0/8", c.pieces...)
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != "hello" {
				t.Errorf("it gave on %q: %v", got, err)
			}
			if c.remote == "" {
				c.remote = conn.Conn.RemoteAddr().String()
			}
			if conn.RemoteAddr().String() != c.remote {
				t.Errorf("the client is %s, not %s", conn.RemoteAddr(), c.remote)
			}
			if conn.Socket() == nil {
				t.Error("the socket can't be taken over")
			}
		})
	}
}

func TestAPROXYHeaderOfOthersIsNone(t *testing.T) {
	header := string(headerOf(t, 1, "192.0.2.7:1234", "192.0.2.1:443"))
	conn, _ := accepted(t, "10.0.0.0/8", header)
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != header || conn.RemoteAddr() != conn.Conn.RemoteAddr() && conn.RemoteAddr().String() != conn.Conn.RemoteAddr().String() {
		t.Errorf("%q from %s: %v", got, conn.RemoteAddr(), err)
	}
}

func TestABrokenPROXYHeaderEndsTheConnection(t *testing.T) {
	signature := string(signatureV2)
	for name, text := range map[string]string{
		"missing":               "GET / HTTP/1.1\r\n\r\n",
		"like one":              "PROXIMA",
		"without an end":        "PROXY TCP4 " + strings.Repeat("1", 200),
		"with a bad address":    "PROXY TCP4 a b 1 2\r\n",
		"of an unknown version": signature + "\x31\x11\x00\x0c" + strings.Repeat("\x01", 12),
		"too large":             signature + "\x21\x11\xff\xff" + strings.Repeat("\x01", 100),
		"too short for itself":  signature + "\x21\x11\x00\x04" + strings.Repeat("\x01", 12),
	} {
		t.Run(name, func(t *testing.T) {
			conn, refused := accepted(t, "127.0.0.0/8", text, "hello")
			got, err := io.ReadAll(conn)
			var bad *headerError
			if len(got) > 0 || !errors.As(err, &bad) {
				t.Errorf("%q, %v", got, err)
			}
			if why := <-refused; why == nil || strings.Contains(why.Error(), "111") {
				t.Errorf("it was told: %v", why)
			}
		})
	}
	t.Run("that breaks off", func(t *testing.T) {
		conn, _ := accepted(t, "127.0.0.0/8", "PROXY TCP4 192")
		if got, err := io.ReadAll(conn); len(got) > 0 || err == nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// FuzzPROXYHeader: where a header ends is what the library that reads it says, a
// prefix decides nothing else than the whole, and no more is asked for than
// there is.
func FuzzPROXYHeader(f *testing.F) {
	f.Add(headerOf(f, 1, "192.0.2.7:1234", "192.0.2.1:443"))
	f.Add(append(headerOf(f, 2, "[2001:db8::7]:1234", "[2001:db8::1]:443"), "GET / HTTP/1.1\r\n\r\n"...))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00rest"))
	f.Add([]byte("PUT / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, need, err := headerSize(b)
		if size < 0 || size > need || size > longestV2 || need > max(longestV2, len(b)+1) {
			t.Fatalf("size %d, need %d of %d bytes", size, need, len(b))
		}
		for n := range b {
			s, m, e := headerSize(b[:n])
			if decided := e != nil || m <= n && n > 0; decided && (s != size || (e == nil) != (err == nil)) {
				t.Fatalf("%d bytes decide %d, %v; all of them %d, %v", n, s, e, size, err)
			}
		}
		if err != nil || need > len(b) || size == 0 {
			return
		}
		reader := bufio.NewReader(bytes.NewReader(b))
		if _, err := proxyproto.Read(reader); err == nil {
			rest, _ := io.ReadAll(reader)
			if len(b)-len(rest) != size {
				t.Fatalf("the header has %d bytes, not %d", len(b)-len(rest), size)
			}
		}
	})
}

// TestAStrayHeaderIsToldOnce, and read like all else.
func TestAStrayHeaderIsToldOnce(t *testing.T) {
	for name, c := range map[string]struct {
		sent  string
		stray bool
	}{
		"version 1":       {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPROXY again", true},
		"version 2":       {string(headerOf(t, 2, "192.0.2.1:1", "192.0.2.2:2")), true},
		"a request":       {"GET /PROXY HTTP/1.1\r\n", false},
		"a method PROXYS": {"PROXYS / HTTP/1.1\r\n", false},
	} {
		conn, _ := accepted(t, "10.0.0.0/8", c.sent)
		told := 0
		conn.options.Stray = func(net.Addr) { told++ }
		if got, err := io.ReadAll(conn); err != nil || string(got) != c.sent || (told == 1) != c.stray || told > 1 {
			t.Errorf("%s: %q, %v, told %d times", name, got, err, told)
		}
	}
}
