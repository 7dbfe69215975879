package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/rfb"
)

// turn is what a viewer says in a correct conversation, and how many bytes of
// RFB it hears before its next one.
type turn struct {
	say  []byte
	hear int
}

const desktopName = "desk"

var (
	serverInit = rfb.ServerInit{Width: 64, Height: 48, Format: rfb.RGB888(), Name: desktopName}.Append(nil)
	looks      = rfb.UpdateRequest{Incremental: true}.Append(rfb.AppendSetEncodings(nil, 0, 7, 16))
	works      = rfb.PointerEvent{Buttons: 1}.Append(rfb.KeyEvent{Down: true, Key: 'a'}.Append(rfb.AppendCutText(nil, []byte("pasted"))))
)

// wholeConversation is a viewer's, from its request to its close frame, with
// everything in it that a relay has to tell apart. token is part of its request.
func wholeConversation(token string) []turn {
	return []turn{
		{[]byte(strings.Replace(request(goodHeaders()...), ticket, token, 1)), greetingSize},
		{binaryFrame(greeting), 2},
		{binaryFrame("\x01"), 4},
		{binaryFrame("\x00"), len(serverInit)},
		{join(
			fragments(looks, 9, pingFrame("between")), clientFrame(true, opBinary, works), pongFrame(""),
			clientFrame(true, opBinary, append(bytes.Clone(looks), make([]byte, 200)...)[:len(looks)]),
		), 0},
		{leaving(1000, "bye"), 0},
	}
}

// desktop is an RFB server without a password, which tells what it heard.
func desktop(t *testing.T, heard func([]byte)) *vncServer {
	return startRaw(t, func(conn net.Conn) {
		var got bytes.Buffer
		defer func() { heard(got.Bytes()) }()
		in := io.TeeReader(conn, &got)
		for _, word := range []struct {
			say  string
			hear int
		}{{greeting, greetingSize}, {"\x01\x01", 1}, {"\x00\x00\x00\x00", 1}, {string(serverInit), 0}} {
			if _, err := io.WriteString(conn, word.say); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, in, int64(word.hear)); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, in)
	})
}

// cutOff says the first size bytes of a conversation and then ends by how. It
// returns how many turns it has said and heard whole, and the edge's close code.
func cutOff(e *edge, all []turn, size int, how string) (turns int, code uint16, err error) {
	conn, err := e.dial()
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, turn := range all {
		if _, err := conn.Write(turn.say[:min(size, len(turn.say))]); err != nil {
			return turns, 0, err
		}
		if size -= len(turn.say); size < 0 {
			break
		}
		if turns == 0 {
			if response, err := http.ReadResponse(r, nil); err != nil || response.StatusCode != 101 {
				return turns, 0, fmt.Errorf("%v, %w", response, err)
			}
		}
		for heard := 0; heard < turn.hear; {
			op, payload, err := readServerFrame(r)
			switch {
			case err != nil:
				return turns, 0, err
			case op == opBinary:
				heard += len(payload)
			case op == opClose: // a slow machine has let a deadline pass
				code, _, err = parseClose(payload)
				return turns, code, err
			}
		}
		turns++
	}
	switch how {
	case "reset":
		_ = socketOf(conn).SetLinger(0)
		_ = socketOf(conn).Close()
	case "stall":
		for err == nil {
			var op opcode
			var payload []byte
			if op, payload, err = readServerFrame(r); op == opClose {
				code, _, err = parseClose(payload)
				return turns, code, err
			}
		}
		if isTimeout(err) {
			return turns, code, err
		}
	}
	return turns, code, nil
}

// TestConversationCutOffAnywhere: whichever byte of a correct conversation is
// the last one, and however the viewer goes on, its stream ends with its reason,
// the server hears nothing that was not said, and nothing is left.
func TestConversationCutOffAnywhere(t *testing.T) {
	total := 0
	for _, turn := range wholeConversation("token-0000-close") {
		total += len(turn.say)
	}
	requestSize := len(wholeConversation("token-0000-close")[0].say)
	rfbOf := func(messages ...[]byte) []byte {
		return join(append([][]byte{[]byte(greeting), {1}}, messages...)...)
	}
	control := rfbOf([]byte{0}, looks, works, looks)
	view := rfbOf([]byte{1}, looks, looks) // who only looks throws nobody out

	transports(t, func(t *testing.T, options ...edgeOption) {
		var mu sync.Mutex
		server := desktop(t, func(got []byte) {
			if !bytes.HasPrefix(control, got) && !bytes.HasPrefix(view, got) {
				t.Errorf("the server heard % x", got)
			}
		})
		authorize := func(_ context.Context, token string) (Grant, error) {
			grant := Grant{Session: token, Mode: Control}
			if strings.Contains(token, "1-") { // every tenth
				grant.Mode = View
			}
			return grant, nil
		}
		e := startEdge(t, Options{Authorize: authorize}, server.addr, options...)
		// Who stalls is left to the deadlines. They are short, but no test of them:
		// a machine that does something else meanwhile makes all of them pass.
		impatient := startEdge(t, Options{Authorize: authorize}, server.addr, append(options, func(e *edge, _ *Options) { e.patience = time.Second })...)
		impatient.times.viewerGreeting, impatient.times.ping = 500*time.Millisecond, 300*time.Millisecond
		gone := func() bool {
			return server.open.Load() == 0 && e.Active() == 0 && impatient.Active() == 0 && streamGoroutines() == 0
		}

		type attempt struct {
			size, turns int
			how         string
			code        uint16
		}
		attempts := make(map[string]attempt)
		var group sync.WaitGroup
		room := make(chan struct{}, 400)
		run := func(size int, how string) {
			token := fmt.Sprintf("token-%04d-%s", size, how)
			room <- struct{}{}
			group.Go(func() {
				defer func() { <-room }()
				to := e
				if how == "stall" {
					to = impatient
				}
				turns, code, err := cutOff(to, wholeConversation(token), size, how)
				if err != nil && (how != "stall" || isTimeout(err)) {
					t.Errorf("%s: %v", token, err)
				}
				mu.Lock()
				defer mu.Unlock()
				attempts[token] = attempt{size, turns, how, code}
			})
		}
		run(total, "close")
		group.Wait()
		eventually(t, "the first stream is gone", gone)
		files := openFiles(t)
		ways := []string{"close", "reset", "stall"}
		if e.tls != nil {
			ways = ways[:1] // handshakes are dear, and what comes of TLS is the same
		}
		for size := range total {
			for _, how := range ways {
				run(size, how)
			}
		}
		group.Wait()
		eventually(t, "nothing is left", func() bool { return gone() && openFiles(t) <= files })

		ends := make(map[string]map[string]any)
		for _, line := range append(e.logs.FilterMessage("stream ended").All(), impatient.logs.FilterMessage("stream ended").All()...) {
			fields := line.ContextMap()
			token := fields["session"].(string)
			if ends[token] != nil {
				t.Errorf("%s has ended twice", token)
			}
			ends[token] = fields
		}
		for token, a := range attempts {
			end := ends[token]
			if a.size < requestSize {
				if end != nil {
					t.Errorf("%s: a stream without a request: %v", token, end)
				}
				continue
			}
			if end == nil {
				if a.how != "stall" || a.turns > 0 {
					t.Errorf("%s: no end is told", token)
				}
				continue
			}
			reason, at := Reason(end["reason"].(string)), end["phase"]
			want := ViewerLost
			switch {
			case a.how == "stall" && reason == ViewerNotVNC && at == string(phaseHandshake):
				want = ViewerNotVNC
			case a.size == total && a.turns > 4:
				want = ViewerLeft
			}
			if reason != want || a.turns >= 2 && at != string(phaseRelay) {
				t.Errorf("%s, after %d turns: %v", token, a.turns, end)
			}
			if told := reason.Info().Close; a.how == "stall" && reason != ViewerLost && a.code != told {
				t.Errorf("%s: the viewer is told %d, not %d", token, a.code, told)
			}
		}
		if want := len(ways)*total + 1; len(attempts) != want {
			t.Errorf("%d attempts, not %d", len(attempts), want)
		}
	})
}
