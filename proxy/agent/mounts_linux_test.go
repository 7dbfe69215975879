package agent

import (
	"slices"
	"strings"
	"testing"
)

const mountTable = `22 1 254:0 / / rw,relatime - ext4 /dev/root rw
90 22 0:50 / /data/s/1/run/gvfs rw,nosuid - fuse.gvfsd-fuse gvfsd-fuse rw
91 90 0:51 / /data/s/1/run/gvfs/two\040words\134 rw - fuse.sshfs host: rw
92 22 0:52 / /data/s/10/run/gvfs rw - fuse.sshfs host: rw
93 22
`

func TestMountsBeneathAFolder(t *testing.T) {
	got := mountsBeneath(mountTable, "/data/s/1")
	if want := []string{`/data/s/1/run/gvfs/two words\`, "/data/s/1/run/gvfs"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzMounts(f *testing.F) {
	f.Add(mountTable, "/data/s/1")
	f.Add(`1 2 3 4 /a/\0`, "/a")
	f.Fuzz(func(t *testing.T, table, dir string) {
		for _, point := range mountsBeneath(table, dir) {
			if !strings.HasPrefix(point, dir+"/") {
				t.Errorf("%q is not beneath %q", point, dir)
			}
		}
	})
}
