package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEdgeOutlivesMoreConnectionsThanItHasDescriptors: whoever connects and
// asks for nothing takes descriptors until there are none; streams that run go
// on, and so does the edge once there are some again.
func TestEdgeOutlivesMoreConnectionsThanItHasDescriptors(t *testing.T) {
	server := startRandomServer(t, 1<<20)
	in := startEdgeAndAgent(t, staticRuntime(server.Addr().String()), "direct: {allow: [\"127.0.0.0/8:1-65535\"]}")
	id := in.running(map[string]any{"endpoint": server.Addr().String()}).ID
	ctx := testContext(t)
	viewer := in.mustView(ctx, id)
	if err := verify(viewer, 1, server.size); err != nil {
		t.Fatal(err)
	}
	in.mustView(ctx, id) // the database and what else opens files once has done so
	const spare = 20
	limit := uint64(openFiles(t, in.process.pid()) + spare)
	if err := unix.Prlimit(in.process.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn
	defer func() {
		for _, conn := range idle {
			_ = conn.Close()
		}
	}()
	for range 3 * spare {
		conn, err := net.Dial("tcp", strings.TrimPrefix(in.URL, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	eventually(t, "no descriptor is left", func() error {
		if in.process.ended() {
			t.Fatalf("the edge ended with status %d", in.process.status)
		}
		if n := uint64(openFiles(t, in.process.pid())); n < limit {
			return fmt.Errorf("%d of %d are used", n, limit)
		}
		return nil
	})
	if err := echo(viewer, []byte("while nobody else comes in")); err != nil {
		t.Errorf("the stream that was there: %v", err)
	}
	for _, conn := range idle {
		_ = conn.Close()
	}
	idle = nil
	eventually(t, "the edge answers again", in.healthy)
	if err := echo(viewer, []byte("and afterwards")); err != nil {
		t.Errorf("the stream that was there: %v", err)
	}
	if err := verify(in.mustView(ctx, id), 2, server.size); err != nil {
		t.Errorf("a new stream: %v", err)
	}
	wants(t, in.process.output.String(), "out of file descriptors", "LimitNOFILE")
}
