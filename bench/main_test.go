package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// program is the binary under test, built once by TestMain.
var program string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "ss-bench-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(folder, "streamspace")
	build := append([]string{"build", "-o", program}, buildFlags...)
	if output, err := exec.Command("go", append(build, "../cmd/streamspace")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, output)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(folder)
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}
