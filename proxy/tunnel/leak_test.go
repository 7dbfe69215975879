package tunnel

import (
	"net"
	"testing"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	startServerClock()
	// fasthttp's clock for the Date header runs for the life of the process.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// Sees up to 10 s late that its server was shut down.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// startServerClock starts that clock outside of any synctest bubble: inside
// one it would never let the bubble end.
func startServerClock() {
	ours, theirs := net.Pipe()
	_ = ours.Close()
	_ = (&fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}}).ServeConn(theirs)
}
