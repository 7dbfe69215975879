package listen

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// served is the answer to a stream of which net/http may or may not be done.
type served struct {
	*httptest.ResponseRecorder
	deadlines int
}

func (s *served) SetReadDeadline(time.Time) error {
	s.deadlines++
	return nil
}

// TestABodyIsReadBehindTheEndOfItsStream: without a deadline, since to set one
// panics then, and with it the edge ended.
func TestABodyIsReadBehindTheEndOfItsStream(t *testing.T) {
	answer := &served{ResponseRecorder: httptest.NewRecorder()}
	body := &movingBody{ReadCloser: io.NopCloser(strings.NewReader("some")), control: http.NewResponseController(answer), wait: time.Minute}
	read := func() {
		t.Helper()
		if n, err := body.Read(make([]byte, 2)); n != 2 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	read()
	if answer.deadlines != 1 {
		t.Errorf("%d deadlines were set", answer.deadlines)
	}
	body.end()
	body.by = time.Time{} // it is time for another one
	read()
	if answer.deadlines != 1 {
		t.Errorf("%d deadlines were set when the stream had been served", answer.deadlines)
	}
}
