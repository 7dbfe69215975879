package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coder/websocket"
)

func TestFramesRoundTrip(t *testing.T) {
	open, err := openFrame(OpenRequest{Session: "a", Stream: "b"})
	if err != nil {
		t.Fatal(err)
	}
	behind := []byte("RFB 003.008\n")
	reader := iotest.OneByteReader(bytes.NewReader(append(open, behind...)))
	kind, payload, err := readFrame(reader)
	if err != nil || kind != frameOpen {
		t.Fatalf("frame %d, %v", kind, err)
	}
	if o, err := parseOpen(payload); err != nil || o != (OpenRequest{Session: "a", Stream: "b"}) {
		t.Errorf("open %+v, %v", o, err)
	}
	if rest, err := io.ReadAll(reader); err != nil || !bytes.Equal(rest, behind) {
		t.Errorf("%q is left behind the frame, want %q", rest, behind)
	}
}

func TestAnEndlessErrorTextIsCut(t *testing.T) {
	for name, text := range map[string]string{
		"ASCII":             strings.Repeat("x", 100_000),
		"umlauts":           "x" + strings.Repeat("ü", 100_000),
		"escaped by JSON":   strings.Repeat("\x01", 100_000),
		"escaped, as words": strings.Repeat("<", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			frame, err := openAnswerFrame(Errorf(CodeVNCRefused, "%s", text))
			if err != nil {
				t.Fatal(err)
			}
			_, payload, err := readFrame(bytes.NewReader(frame))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := parseOpenAnswer(payload)
			refusal := answer.Error
			if err != nil || refusal.Code != CodeVNCRefused || refusal.Text == "" || strings.ContainsRune(refusal.Text, '\uFFFD') {
				t.Errorf("refusal %+v, %v", refusal, err)
			}
		})
	}
}

func TestOpenRefusesIDsOfTheWrongSize(t *testing.T) {
	for _, o := range []OpenRequest{{}, {Session: "s"}, {Stream: "s"}, {Session: strings.Repeat("s", maxStreamID+1), Stream: "s"}} {
		if _, err := openFrame(o); codeOf(err) != CodeBadRequest {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestEveryCodeHasItsCloseStatus(t *testing.T) {
	for _, code := range codesByStatus() {
		if got := codeOfStatus(code.closeStatus()); got != code {
			t.Errorf("%s comes back as %q", code, got)
		}
	}
	if got := Code("unknown").closeStatus(); got != websocket.StatusInternalError {
		t.Errorf("an unknown code closes with %d", got)
	}
	for _, status := range []websocket.StatusCode{1000, 3999, firstStatus + websocket.StatusCode(len(codesByStatus())), 4999} {
		if got := codeOfStatus(status); got != "" {
			t.Errorf("status %d is code %q", status, got)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	open, err := openFrame(OpenRequest{Session: "session", Stream: "stream"})
	if err != nil {
		f.Fatal(err)
	}
	refusal, err := openAnswerFrame(Errorf(CodeNoSession, "no such session"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(open)
	f.Add(refusal)
	f.Add(appendFrame(nil, frameEcho, make([]byte, echoSize)))
	f.Add([]byte{1, 0xff, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		reader := bytes.NewReader(b)
		kind, payload, err := readFrame(reader)
		if err != nil {
			if len(b) == 0 && !errors.Is(err, io.EOF) {
				t.Errorf("nothing: %v, want EOF", err)
			}
			return
		}
		if again := appendFrame(nil, kind, payload); !bytes.Equal(again, b[:len(b)-reader.Len()]) {
			t.Errorf("%x is read as %x", b, again)
		}
		if o, err := parseOpen(payload); err == nil && o.check() != nil {
			t.Errorf("parseOpen lets %+v pass", o)
		}
		if answer, err := parseOpenAnswer(payload); err == nil {
			if _, err := openAnswerFrame(answer.Error); err != nil {
				t.Errorf("an answer that can't be sent on: %v", err)
			}
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	for _, e := range []Envelope{
		{Hello: &Hello{AgentID: "a", Sessions: []Report{{Session: "s", State: SessionRunning}}}},
		{Welcome: &Welcome{Generation: 1}}, {Beat: &Beat{}}, {Command: &Command{ID: "1"}},
		{Ack: &Ack{Error: Errorf(CodeNoRoom, "full")}}, {State: &Report{}}, {Streams: &Streams{More: 3}},
		{Homes: &Homes{List: []Home{{Node: "a", URL: "https://a", Pin: "sha256:00"}}}}, {Bye: &Bye{}}, {Refused: &Error{}},
	} {
		text, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"beat":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseEnvelope(text)
		if err != nil {
			if codeOf(err) != CodeBadRequest {
				t.Errorf("error %v without its code", err)
			}
			return
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseEnvelope(again); err != nil {
			t.Errorf("%s is not read again: %v", again, err)
		}
	})
}
