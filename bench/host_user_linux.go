package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// hostUser is whom servers run as that refuse to run as root; nil: the user of
// this process.
type hostUser struct{ uid, gid int }

// databaseHostUser is the user that the packages of PostgreSQL make.
func databaseHostUser() (*hostUser, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, &UsageError{"PostgreSQL does not run as root, and there is no user postgres to run it as; run this as an ordinary user"}
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("the user postgres: %w", err)
	}
	return &hostUser{uid, gid}, nil
}

// own gives the file or folder to the user.
func (u *hostUser) own(path string) error {
	if u == nil {
		return nil
	}
	return os.Chown(path, u.uid, u.gid)
}

// run makes cmd run as the user.
func (u *hostUser) run(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = ownGroup()
	}
	if u != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.gid)}
	}
}
