package rfb

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// turn is what one side says before the other answers.
type turn struct {
	viewer bool
	says   string
}

// turns reads a conversation: the server speaks first, then they take turns.
func turns(says ...string) (list []turn) {
	for i, s := range says {
		list = append(list, turn{viewer: i%2 == 1, says: s})
	}
	return list
}

// observed is what an Observer makes of a conversation.
type observed struct {
	phase Phase
	n     int // bytes of the viewer that belong to the handshake
	err   string
	h     Handshake
}

// observe tells an Observer a conversation in pieces whose sizes next tells.
func observe(t testing.TB, conversation []turn, next func() int) observed {
	t.Helper()
	var o Observer
	var total int
	for _, turn := range conversation {
		for rest := []byte(turn.says); len(rest) > 0; {
			piece := rest[:min(max(next(), 1), len(rest))]
			rest = rest[len(piece):]
			before := o.phase
			if !turn.viewer {
				if phase := o.Server(piece); before != PhaseHandshake && phase != before || phase == PhaseNormal && before == PhaseHandshake {
					t.Fatalf("the server made %v out of %v", phase, before)
				}
				continue
			}
			n, phase := o.Viewer(piece)
			total += n
			switch {
			case n < 0 || n > len(piece), phase == PhaseHandshake && n != len(piece), before != PhaseHandshake && (n != 0 || phase != before):
				t.Fatalf("%d of %d bytes, from %v to %v", n, len(piece), before, phase)
			}
		}
	}
	out := observed{phase: o.phase, n: total, h: o.Handshake()}
	if o.Err() != nil {
		out.err = o.Err().Error()
	}
	return out
}

func TestObserverFollowsEveryHandshake(t *testing.T) {
	const ok, failed = "\x00\x00\x00\x00", "\x00\x00\x00\x01"
	proof := response(password)
	const none, auth = SecurityNone, SecurityVNCAuth
	input := string(KeyEvent{Down: true, Key: 'x'}.Append(nil))
	for name, c := range map[string]struct {
		says  []turn
		phase Phase
		n     int
		h     Handshake
		fault string // part of Err
	}{
		"3.8 None":      {turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x01", "\x01", ok, "\x01"+input), PhaseNormal, 14, Handshake{V38, V38, none}, ""},
		"3.8 VncAuth":   {turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x01", "\x02", challenge, proof, ok, "\x01"+input), PhaseNormal, 30, Handshake{V38, V38, auth}, ""},
		"3.7 None":      {turns("RFB 003.008\n", "RFB 003.007\n", "\x01\x01", "\x01\x01"+input), PhaseNormal, 14, Handshake{V38, V37, none}, ""},
		"3.7 VncAuth":   {turns("RFB 003.007\n", "RFB 003.007\n", "\x01\x02", "\x02", challenge, proof, ok, "\x01"+input), PhaseNormal, 30, Handshake{V37, V37, auth}, ""},
		"3.3 None":      {turns("RFB 003.008\n", "RFB 003.003\n", "\x00\x00\x00\x01", "\x01"+input), PhaseNormal, 13, Handshake{V38, V33, none}, ""},
		"3.3 VncAuth":   {turns("RFB 003.003\n", "RFB 003.003\n", "\x00\x00\x00\x02"+challenge, proof, ok, "\x00"+input), PhaseNormal, 29, Handshake{V33, V33, auth}, ""},
		"newer server":  {turns("RFB 003.889\n", "RFB 003.008\n", "\x02\x1e\x01", "\x01", ok, "\x01", "ServerInit", input), PhaseNormal, 14, Handshake{3<<16 | 889, V38, none}, ""},
		"after it":      {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x01", "\x01", ok, "\x01", "ServerInit", input, "updates"), PhaseNormal, 14, Handshake{V38, V38, none}, ""},
		"not yet begun": {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x01", "\x01", ok), PhaseHandshake, 13, Handshake{V38, V38, none}, ""},

		"3.8 wrong password":  {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x02", "\x02", challenge, proof, failed+"\x00\x00\x00\x02no"), PhaseHandshake, 29, Handshake{V38, V38, auth}, ""},
		"3.3 refused":         {turns("RFB 003.003\n", "RFB 003.003\n", "\x00\x00\x00\x00\x00\x00\x00\x02no"), PhaseHandshake, 12, Handshake{V33, V33, 0}, ""},
		"3.8 refused":         {turns("RFB 003.008\n", "RFB 003.008\n", "\x00\x00\x00\x00\x02no"), PhaseHandshake, 12, Handshake{V38, V38, 0}, ""},
		"refused and goes on": {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x02", "\x02", challenge, proof, failed, "\x01"+input), PhaseFailed, 29, Handshake{V38, V38, auth}, "after the VNC server had refused it"},

		"VeNCrypt":       {turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x01\x13", "\x13", "\x00\x02", input), PhaseOpaque, 13, Handshake{V38, V38, SecurityVeNCrypt}, "VeNCrypt"},
		"3.3 RA2":        {turns("RFB 003.003\n", "RFB 003.003\n", "\x00\x00\x00\x05", input), PhaseOpaque, 12, Handshake{V33, V33, SecurityRA2}, "RA2"},
		"repeater":       {turns("RFB 000.000\n", "ID:1234"), PhaseOpaque, 0, Handshake{Offered: 0}, "RFB 0.0"},
		"UltraVNC's 3.6": {turns("RFB 003.006\n", "RFB 003.006\n"+input), PhaseOpaque, 12, Handshake{Offered: 3<<16 | 6}, "RFB 3.6"},

		"no greeting":           {turns("HTTP/1.1 400\r\n"), PhaseFailed, 0, Handshake{}, "the VNC server's greeting"},
		"not a viewer":          {turns("RFB 003.008\n", "GET / HTTP/1.1\r\n"), PhaseFailed, 12, Handshake{Offered: V38}, "the viewer's greeting"},
		"newer than the server": {turns("RFB 003.003\n", "RFB 003.008\n"+input), PhaseFailed, 12, Handshake{Offered: V33}, "knows only 3.3"},
		"3.7 newer than 3.5":    {turns("RFB 003.005\n", "RFB 003.007\n"), PhaseFailed, 12, Handshake{Offered: 3<<16 | 5}, "knows only 3.5"},
		"None not offered":      {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x02", "\x01"+input), PhaseFailed, 13, Handshake{V38, V38, 0}, "chose None, which was not offered"},
		"VncAuth not offered":   {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x01", "\x02"), PhaseFailed, 13, Handshake{V38, V38, 0}, "chose VNC authentication, which"},
		"type 0":                {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x01", "\x00"), PhaseFailed, 13, Handshake{V38, V38, 0}, "type 0"},
		"type 258":              {turns("RFB 003.003\n", "RFB 003.003\n", "\x00\x00\x01\x02"), PhaseFailed, 12, Handshake{V33, V33, 0}, "type 258"},
		"all at once":           {turns("RFB 003.008\n", "RFB 003.008\n\x01\x01"+input), PhaseFailed, 12, Handshake{V38, V38, 0}, "viewer spoke before"},
		"before the result":     {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x01", "\x01\x01"+input), PhaseFailed, 13, Handshake{V38, V38, none}, "viewer spoke before"},
		"before the challenge":  {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x02", "\x02"+proof), PhaseFailed, 13, Handshake{V38, V38, auth}, "viewer spoke before"},
		"in the list of types":  {turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x01", "\x01", "\x02"), PhaseFailed, 12, Handshake{V38, V38, 0}, "viewer spoke before"},
		"viewer first":          {turns("", "RFB 003.008\n"), PhaseFailed, 0, Handshake{}, "viewer spoke before"},
		"server goes on":        {turns("RFB 003.008\n\x01\x01", "RFB 003.008\n"), PhaseFailed, 0, Handshake{Offered: V38}, "the viewer's turn"},
		"3.3 has no result":     {turns("RFB 003.008\n", "RFB 003.003\n", "\x00\x00\x00\x01"+ok, "\x01"), PhaseFailed, 12, Handshake{V38, V33, none}, "the viewer's turn"},
		"lists end in time":     {turns("RFB 003.008\n", "RFB 003.008\n", "\x01\x01\x02", "\x01"), PhaseFailed, 12, Handshake{V38, V38, 0}, "the viewer's turn"},

		// A server of 3.8 that takes 3.7 for 3.3, and the other way round.
		"3.7 taken for 3.3": {turns("RFB 003.008\n", "RFB 003.007\n", "\x00\x00\x00\x01", "\x01"+input), PhaseFailed, 12, Handshake{V38, V37, 0}, "refused it"},
		"3.3 taken for 3.7": {turns("RFB 003.008\n", "RFB 003.003\n", "\x01\x01", "\x01"+input), PhaseFailed, 12, Handshake{V38, V33, 0}, "viewer spoke before"},
	} {
		t.Run(name, func(t *testing.T) {
			longest := 0
			for _, turn := range c.says {
				longest = max(longest, len(turn.says))
			}
			for size := 1; size <= longest; size++ {
				got := observe(t, c.says, func() int { return size })
				if got.phase != c.phase || got.n != c.n || got.h != c.h || (got.err == "") != (c.fault == "") || !strings.Contains(got.err, c.fault) {
					t.Errorf("in pieces of %d: %+v, want %v, %d bytes, %+v, %q", size, got, c.phase, c.n, c.h, c.fault)
				}
			}
		})
	}
}

// Each turn cut once, at each place.
func TestObserverDoesNotMindWhereTheHandshakeIsCut(t *testing.T) {
	for _, says := range [][]turn{
		turns("RFB 003.008\n", "RFB 003.008\n", "\x03\x02\x05\x01", "\x02", challenge, challenge, "\x00\x00\x00\x00", "\x01after"),
		turns("RFB 003.003\n", "RFB 003.003\n", "\x00\x00\x00\x02"+challenge, challenge, "\x00\x00\x00\x00", "\x01after"),
		turns("RFB 003.007\n", "RFB 003.007\n", "\x01\x01", "\x01\x01after"),
	} {
		want := observe(t, says, func() int { return 100 })
		if want.phase != PhaseNormal {
			t.Fatalf("%+v", want)
		}
		for i := range says {
			for cut := 1; cut < len(says[i].says); cut++ {
				pieces := append([]turn{}, says[:i]...)
				pieces = append(pieces, turn{says[i].viewer, says[i].says[:cut]}, turn{says[i].viewer, says[i].says[cut:]})
				pieces = append(pieces, says[i+1:]...)
				if got := observe(t, pieces, func() int { return 100 }); got != want {
					t.Errorf("turn %d cut at %d: %+v, want %+v", i, cut, got, want)
				}
			}
		}
	}
}

func TestObserverAllocatesNothing(t *testing.T) {
	says := turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x01", "\x02", challenge, challenge, "\x00\x00\x00\x00", "\x01")
	var pieces [][]byte
	for _, turn := range says {
		pieces = append(pieces, []byte(turn.says))
	}
	updates := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(100, func() {
		var o Observer
		for i, piece := range pieces {
			if says[i].viewer {
				o.Viewer(piece)
			} else {
				o.Server(piece)
			}
		}
		if o.Server(updates) != PhaseNormal {
			t.Fatal(o.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations a handshake", n)
	}
}

func BenchmarkObserver(b *testing.B) {
	says := turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x01", "\x02", challenge, challenge, "\x00\x00\x00\x00", "\x01")
	var pieces [][]byte
	for _, turn := range says {
		pieces = append(pieces, []byte(turn.says))
	}
	b.ReportAllocs()
	for b.Loop() {
		var o Observer
		for i, piece := range pieces {
			if says[i].viewer {
				o.Viewer(piece)
			} else {
				o.Server(piece)
			}
		}
		if o.phase != PhaseNormal {
			b.Fatal(o.Err())
		}
	}
}

// tap tells an Observer what a client and its server say.
type tap struct {
	net.Conn
	o *Observer
	n int
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.o.Server(p[:n])
	return n, err
}

func (c *tap) Write(p []byte) (int, error) {
	n, _ := c.o.Viewer(p)
	c.n += n
	return c.Conn.Write(p)
}

// conversation reads turns from anything: a byte with the speaker in its top
// bit and the length in the others, and what he says.
func conversation(data []byte) (list []turn) {
	for len(data) > 0 {
		n := min(int(data[0]&0x7f), len(data)-1)
		list = append(list, turn{viewer: data[0]&0x80 != 0, says: string(data[1 : 1+n])})
		data = data[1+n:]
	}
	return list
}

func written(list []turn) (data []byte) {
	for _, turn := range list {
		head := byte(len(turn.says))
		if turn.viewer {
			head |= 0x80
		}
		data = append(append(data, head), turn.says...)
	}
	return data
}

func FuzzObserver(f *testing.F) {
	const ok = "\x00\x00\x00\x00"
	for _, says := range [][]turn{
		turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x01", "\x01", ok, "\x01after"),
		turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x01", "\x02", challenge, challenge, ok, "\x01after"),
		turns("RFB 003.008\n", "RFB 003.007\n", "\x01\x01", "\x01\x01after"),
		turns("RFB 003.003\n", "RFB 003.003\n", "\x00\x00\x00\x02"+challenge, challenge, ok, "\x01after"),
		turns("RFB 003.008\n", "RFB 003.008\n", "\x02\x02\x13", "\x13", "\x00\x02"),
		turns("RFB 003.008\n", "RFB 003.008\n", "\x00\x00\x00\x00\x02no", "after"),
	} {
		f.Add(written(says), []byte{1})
		f.Add(written(says), []byte{3, 1, 7})
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		says := conversation(data)
		at := 0
		whole := observe(t, says, func() int { return 200 })
		cut := observe(t, says, func() int {
			if len(cuts) == 0 {
				return 1
			}
			at++
			return int(cuts[at%len(cuts)])
		})
		if cut != whole {
			t.Fatalf("whole %+v, cut by %v %+v", whole, cuts, cut)
		}
		if whole.n > 30 || (whole.err != "") != (whole.phase == PhaseOpaque || whole.phase == PhaseFailed) {
			t.Fatalf("%+v", whole)
		}
		if whole.phase == PhaseNormal {
			normal(t, says, whole)
		}
	})
}

// normal checks a handshake that is said to be over: the two sides' words, each
// taken as a whole, must be those of a handshake of the RFC.
func normal(t *testing.T, says []turn, got observed) {
	t.Helper()
	var server, viewer string
	for _, turn := range says {
		if turn.viewer {
			viewer += turn.says
		} else {
			server += turn.says
		}
	}
	v := got.h.Version.Bytes()
	wantViewer := []string{string(v[:])}
	server = server[greetingLen:]
	if got.h.Version == V33 {
		if want := fmt.Sprintf("\x00\x00\x00%c", rune(got.h.Security)); !strings.HasPrefix(server, want) {
			t.Fatalf("%+v after %q", got, server)
		}
		server = server[4:]
	} else {
		offered := server[1 : 1+server[0]]
		if !strings.Contains(offered, string(rune(got.h.Security))) {
			t.Fatalf("%+v after %q was offered", got, offered)
		}
		server = server[1+len(offered):]
		wantViewer = append(wantViewer, string(rune(got.h.Security)))
	}
	length := 0
	if got.h.Security == SecurityVNCAuth {
		server = server[ChallengeLen:]
		length = ChallengeLen
	} else if got.h.Security != SecurityNone {
		t.Fatalf("%+v", got)
	}
	if (got.h.Security == SecurityVNCAuth || got.h.Version == V38) && !strings.HasPrefix(server, "\x00\x00\x00\x00") {
		t.Fatalf("%+v after the result %q", got, server)
	}
	prefix := strings.Join(wantViewer, "")
	if !strings.HasPrefix(viewer, prefix) || got.n != len(prefix)+length+ClientInitLen {
		t.Fatalf("%+v, want %q and %d bytes", got, prefix, length+ClientInitLen)
	}
}
