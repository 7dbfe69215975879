package agent

import (
	"bytes"
	"fmt"
	"strconv"
)

// stat is what matters here of proc(5)'s /proc/PID/stat.
type stat struct {
	pid, parent, session int
	state                byte
	start                uint64 // clock ticks since boot
}

func (s stat) process() process { return process{PID: s.pid, Start: s.start} }

// dead tells a process that only waits for its parent to hear of its end.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// parseStat reads one line. The second field is the program's name in
// parentheses, in which anything may stand, so counting begins at the last one.
func parseStat(line []byte) (stat, error) {
	open, closing := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || closing < open {
		return stat{}, fmt.Errorf("stat %q has no program name", line)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:open])))
	if err != nil || pid <= 0 {
		return stat{}, fmt.Errorf("stat %q has no process id", line)
	}
	const third, fourth, sixth, twentySecond = 0, 1, 3, 19 // fields by their numbers in proc(5)
	fields := bytes.Fields(line[closing+1:])
	if len(fields) <= twentySecond || len(fields[third]) != 1 {
		return stat{}, fmt.Errorf("stat %q is too short", line)
	}
	parent, errParent := strconv.Atoi(string(fields[fourth]))
	session, errSession := strconv.Atoi(string(fields[sixth]))
	start, errStart := strconv.ParseUint(string(fields[twentySecond]), 10, 64)
	if errParent != nil || errSession != nil || errStart != nil || parent < 0 {
		return stat{}, fmt.Errorf("stat %q has fields that are no numbers", line)
	}
	return stat{pid: pid, parent: parent, session: session, state: fields[third][0], start: start}, nil
}
