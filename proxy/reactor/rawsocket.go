package reactor

import "errors"

// ErrStirred is what RawSocket.Ask finds before it has sent anything.
var ErrStirred = errors.New("the other end has closed the connection, or said something unasked")
