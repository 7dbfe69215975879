//go:build !linux

package reactor

// pipe is for systems that can splice.
type pipe struct{}

// Moves tells whether Move works between the two: not on this system.
func (c *Conn) Moves(*Conn) bool { return false }

// Move is never called where Moves is false.
func (c *Conn) Move(*Conn, int, func(n int) []byte) (int, error) { return 0, ErrWait }

func (c *Conn) flushPipe() (done bool, err error) { return true, nil }
func (c *Conn) dropPipe()                         {}
