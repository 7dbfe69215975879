package hop

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

// answer follows the 101: its length in two bytes, big endian, then its JSON.
// Behind one without an Error come the stream's bytes.
type answer struct {
	Error     *tunnel.Error `json:"error,omitempty"`
	WebSocket bool          `json:"websocket,omitempty"` // the bytes are frames, as those of tunnel.WebSocket
}

const (
	maxAnswer = 8192 // bytes of the JSON, which may make six of one of the text's
	maxText   = 1024 // bytes of an error's text
)

func (a answer) frame() ([]byte, error) {
	if a.Error != nil && len(a.Error.Text) > maxText {
		a.Error = &tunnel.Error{Code: a.Error.Code, Text: strings.ToValidUTF8(a.Error.Text[:maxText], "")}
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes, the limit is %d", len(text), maxAnswer)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...), nil
}

// readAnswer reads exactly one answer and not a byte more.
func readAnswer(r io.Reader) (a answer, err error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return a, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxAnswer {
		return a, fmt.Errorf("an answer of %d bytes, the limit is %d", n, maxAnswer)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return a, err
	}
	if json.Unmarshal(text, &a) != nil {
		return answer{}, errors.New("its answer is not JSON")
	}
	return a, nil
}

// coded gives err the form that goes to another edge.
func coded(err error) *tunnel.Error {
	var t *tunnel.Error
	if errors.As(err, &t) {
		return t
	}
	return tunnel.Errorf(tunnel.CodeUnavailable, "%v", err)
}
