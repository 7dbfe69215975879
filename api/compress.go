package api

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// compressFrom is the size, in bytes, from which an answer is compressed: below
// it the headers weigh more than what is saved.
const compressFrom = 1024

// compress lets a handler's answers be sent as zstd or gzip to who takes it.
func compress(h http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(compressFrom), gzhttp.SetContentType(false),
		gzhttp.ContentTypes([]string{"application/json", ProblemType, "application/yaml"}))
	if err != nil {
		panic(fmt.Sprintf("the options of compression are wrong: %v", err)) // they are constants
	}
	return wrap(h)
}

// verbatim are the paths whose answers are never compressed: those with
// credentials in them, whose length would tell of them to who makes a browser
// ask with words of their own (BREACH), and the stream of events.
func verbatim(path string) bool {
	switch path {
	case "/api/v1/login", "/api/v1/keys", "/api/v1/sessions/{id}/vnc", "/api/v1/events":
		return true
	default:
		return false
	}
}
