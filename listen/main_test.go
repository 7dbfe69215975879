package listen_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(fasthttpClock)) }

// fasthttpClock has no end.
const fasthttpClock = "github.com/valyala/fasthttp.updateServerDate.func1"
