package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
)

// A log file may grow to maxLog bytes, looked at every second; then all but
// its last keptLog bytes go. The processes that write to it know nothing of
// that, so they can survive the agent.
const (
	maxLog  = 1 << 20
	keptLog = 64 << 10
	maxLine = 200 // bytes of a log line in a reason
)

func openLog(file string) (*os.File, error) {
	return os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// trimLog shortens the file when it is too long. What is written meanwhile may
// be lost.
func trimLog(file string) error {
	info, err := os.Stat(file)
	if err != nil || info.Size() <= maxLog {
		return err
	}
	tail, err := readTail(file)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	err = log.Truncate(0) // each of its writers appends, so none leaves a hole
	if err == nil {
		_, err = log.Write(tail)
	}
	return errors.Join(err, log.Close())
}

// readTail reads the last keptLog bytes at most, from the start of a line.
func readTail(file string) ([]byte, error) {
	log, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	from := max(info.Size()-keptLog, 0)
	tail, err := io.ReadAll(io.NewSectionReader(log, from, keptLog))
	if _, rest, found := bytes.Cut(tail, []byte("\n")); found && from > 0 {
		tail = rest
	}
	return tail, err
}

// lastWords is why a program ended, as its log has it; empty when it does not
// say. Of an X server's fatal error, which has several lines, it is the first;
// else the last line of all. killed: the program was ended from outside, so that
// its last line tells nothing of that.
func lastWords(file string, killed bool) string {
	tail, err := readTail(file)
	if err != nil {
		return ""
	}
	text := string(tail)
	if _, words, found := strings.Cut(text, "Fatal server error:"); found {
		for line := range strings.Lines(words) {
			if line = bareLine(line); line != "" {
				return line
			}
		}
	}
	if killed {
		return ""
	}
	last := ""
	for line := range strings.Lines(text) {
		if line = bareLine(line); line != "" {
			last = line
		}
	}
	return last
}

func bareLine(line string) string {
	line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "(EE)"))
	return strings.ToValidUTF8(line[:min(len(line), maxLine)], "")
}
