package api

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
)

// TestRequestIDsAreOfVersion7, as those of all other rooms, so that they sort by
// time; and the log has clients as the access log has them.
func TestRequestIDsAreOfVersion7(t *testing.T) {
	if id, err := uuid.Parse(requestID(&http.Request{Header: http.Header{}})); err != nil || id.Version() != 7 {
		t.Errorf("%s is of version %d, %v", id, id.Version(), err)
	}
	for remote, want := range map[string]string{"192.0.2.7:1234": "192.0.2.7", "[2001:db8::1]:1": "2001:db8::1", "[::ffff:192.0.2.7]:1": "192.0.2.7", "@": "@"} {
		if got := hostOf(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
