package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unmountBeneath takes away what a desktop's programs have mounted in the
// session's folder (gvfs and document portals do, in XDG_RUNTIME_DIR). While
// something is mounted there the folder must not be removed: what it shows may
// be a person's files on another host.
func unmountBeneath(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var left error
	for _, point := range mountsBeneath(string(table), dir) {
		err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EPERM) { // only the FUSE helpers may, for who is not root
			for _, helper := range []string{"fusermount3", "fusermount"} {
				if err = exec.Command(helper, "-u", "-z", point).Run(); err == nil {
					break
				}
			}
		}
		if err != nil {
			left = errors.Join(left, fmt.Errorf("%s is still mounted: %w; unmount it", point, err))
		}
	}
	return left
}

// mountsBeneath lists the mount points in dir, the deepest first, from a table
// in the form of proc(5)'s mountinfo: the fifth field, with blanks and
// backslashes as octal numbers.
func mountsBeneath(table, dir string) (points []string) {
	const mountPoint = 4
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) <= mountPoint {
			continue
		}
		if point := unescapeOctal(fields[mountPoint]); strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	slices.Reverse(points) // what was mounted later may lie in what was mounted earlier
	return points
}

func unescapeOctal(text string) string {
	var plain strings.Builder
	for {
		before, after, found := strings.Cut(text, `\`)
		plain.WriteString(before)
		if !found {
			return plain.String()
		}
		const digits = 3
		code, err := strconv.ParseUint(after[:min(digits, len(after))], 8, 8)
		if err != nil || len(after) < digits {
			plain.WriteByte('\\')
			text = after
			continue
		}
		plain.WriteByte(byte(code))
		text = after[digits:]
	}
}
