package balancer

import (
	"bytes"
	"encoding/base64"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	affinitySecret = []byte("0123456789abcdef0123456789abcdef")
	// noon is far from both ends of its epoch.
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	midnight = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
)

func newAffinity(pool string, ttl time.Duration) *Affinity {
	return NewAffinity(AffinityConfig{Cookie: "SSAFFINITY", TTL: ttl, Path: "/"}, pool, affinitySecret)
}

func TestAffinityConfigFaults(t *testing.T) {
	good := AffinityConfig{Cookie: "SSAFFINITY", TTL: time.Hour, Path: "/"}
	tests := map[string]struct {
		change func(*AffinityConfig)
		want   []string // keys
	}{
		"good":                      {func(*AffinityConfig) {}, nil},
		"a second":                  {func(c *AffinityConfig) { c.TTL = time.Second }, nil},
		"a day":                     {func(c *AffinityConfig) { c.TTL = 24 * time.Hour }, nil},
		"every character of tokens": {func(c *AffinityConfig) { c.Cookie = "azAZ09!#$%&'*+-.^_`|~" }, nil},
		"a path":                    {func(c *AffinityConfig) { c.Path = "/a%20b/c" }, nil},
		"no name":                   {func(c *AffinityConfig) { c.Cookie = "" }, []string{"cookie"}},
		"a name with a space":       {func(c *AffinityConfig) { c.Cookie = "a b" }, []string{"cookie"}},
		"a name with =":             {func(c *AffinityConfig) { c.Cookie = "a=b" }, []string{"cookie"}},
		"a name with ;":             {func(c *AffinityConfig) { c.Cookie = "a;b" }, []string{"cookie"}},
		"a name with a line break":  {func(c *AffinityConfig) { c.Cookie = "a\r\nb" }, []string{"cookie"}},
		"a name beyond ASCII":       {func(c *AffinityConfig) { c.Cookie = "plätzchen" }, []string{"cookie"}},
		"a long name":               {func(c *AffinityConfig) { c.Cookie = strings.Repeat("a", 257) }, []string{"cookie"}},
		"too short":                 {func(c *AffinityConfig) { c.TTL = time.Second - 1 }, []string{"ttl"}},
		"too long":                  {func(c *AffinityConfig) { c.TTL = 24*time.Hour + 1 }, []string{"ttl"}},
		"a relative path":           {func(c *AffinityConfig) { c.Path = "app/" }, []string{"path"}},
		"no path":                   {func(c *AffinityConfig) { c.Path = "" }, []string{"path"}},
		"a path with ;":             {func(c *AffinityConfig) { c.Path = "/; Domain=example.org" }, []string{"path"}},
		"a path with a line break":  {func(c *AffinityConfig) { c.Path = "/\r\nX: y" }, []string{"path"}},
		"a long path":               {func(c *AffinityConfig) { c.Path = "/" + strings.Repeat("a", 1024) }, []string{"path"}},
		"everything":                {func(c *AffinityConfig) { *c = AffinityConfig{} }, []string{"cookie", "ttl", "path"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := good
			test.change(&c)
			var keys []string
			for _, f := range c.Validate() {
				keys = append(keys, f.Key)
				if f.Text == "" {
					t.Errorf("%s: no text", f.Key)
				}
			}
			if !slices.Equal(keys, test.want) {
				t.Errorf("faults %v, want %v", c.Validate(), test.want)
			}
		})
	}
}

func TestACookieIsReadByEveryEdgeOfTheSecret(t *testing.T) {
	one, other := newAffinity("web", time.Hour), newAffinity("web", time.Hour)
	m := one.Mark("http://10.0.0.21:8080")
	if m != other.Mark("http://10.0.0.21:8080") {
		t.Fatal("two edges mark an upstream differently")
	}
	got, expires, ok := other.Read([][]byte{one.Value(m, noon)}, noon.Add(time.Minute))
	if !ok || got != m || !expires.Equal(noon.Add(time.Hour)) {
		t.Errorf("read %x, %v, %t; want %x, %v", got, expires, ok, m, noon.Add(time.Hour))
	}
}

func TestAMarkDependsOnUpstreamPoolAndSecret(t *testing.T) {
	const id = "http://10.0.0.21:8080"
	marks := map[Mark]string{}
	for name, m := range map[string]Mark{
		"it":             newAffinity("web", time.Hour).Mark(id),
		"other upstream": newAffinity("web", time.Hour).Mark(id + "1"),
		"other pool":     newAffinity("web2", time.Hour).Mark(id),
		"other secret":   NewAffinity(AffinityConfig{}, "web", bytes.ToUpper(affinitySecret)).Mark(id),
	} {
		if same, ok := marks[m]; ok {
			t.Errorf("%s and %s have the same mark", name, same)
		}
		marks[m] = name
	}
}

func TestTheValueTellsNothingOfTheUpstream(t *testing.T) {
	a := newAffinity("web", time.Hour)
	value := a.Value(a.Mark("10.0.0.21:8080"), noon)
	raw, err := base64.RawURLEncoding.DecodeString(string(value))
	if err != nil {
		t.Fatal(err)
	}
	for _, tell := range []string{"10.0", "8080", "web", string([]byte{10, 0, 0, 21})} {
		if bytes.Contains(raw, []byte(tell)) || bytes.Contains(value, []byte(tell)) {
			t.Errorf("%q is in %s", tell, value)
		}
	}
}

// resign gives a value other content with a good MAC: what an edge would have
// issued that had it.
func resign(a *Affinity, value []byte, epoch uint32, change func(raw []byte)) []byte {
	raw, _ := base64.RawURLEncoding.DecodeString(string(value))
	change(raw)
	a.mu.Lock()
	defer a.mu.Unlock()
	copy(a.raw[:], raw)
	copy(a.raw[rawSize-macSize:], a.sign(epoch))
	return base64.RawURLEncoding.AppendEncode(nil, a.raw[:])
}

func TestWhatIsNoGoodCookieIsIgnored(t *testing.T) {
	a := newAffinity("web", time.Hour)
	m := a.Mark("u")
	good := a.Value(m, noon)
	bit := func(i int) []byte {
		raw, _ := base64.RawURLEncoding.DecodeString(string(good))
		raw[i/8] ^= 1 << (i % 8)
		return base64.RawURLEncoding.AppendEncode(nil, raw)
	}
	tests := map[string][]byte{
		"nothing":         nil,
		"a letter":        []byte("x"),
		"cut":             good[:len(good)-1],
		"longer":          append(slices.Clone(good), 'A'),
		"padded":          append(slices.Clone(good), "=="...),
		"quoted":          []byte(`"` + string(good) + `"`),
		"oversized":       bytes.Repeat([]byte("A"), 1<<20),
		"zeros":           bytes.Repeat([]byte("A"), valueSize),
		"no base64":       bytes.Repeat([]byte("%"), valueSize),
		"line breaks":     append(slices.Clone(good[:valueSize-4]), "\r\n\r\n"...),
		"all line breaks": bytes.Repeat([]byte("\n"), valueSize),
		"of another pool": newAffinity("web2", time.Hour).Value(m, noon),
		"other secret":    NewAffinity(AffinityConfig{TTL: time.Hour}, "web", bytes.ToUpper(affinitySecret)).Value(m, noon),
		"expired":         a.Value(m, noon.Add(-time.Hour)),
		"two days old":    resign(a, good, epochOf(noon)-2, func(raw []byte) { raw[4] -= 2 }),
		"of the day after tomorrow": resign(a, good, epochOf(noon)+2,
			func(raw []byte) { raw[4] += 2 }),
		"of tomorrow, at noon": resign(a, good, epochOf(noon)+1, func(raw []byte) { raw[4]++ }),
		"another version":      resign(a, good, epochOf(noon), func(raw []byte) { raw[0]++ }),
	}
	for name, value := range tests {
		t.Run(name, func(t *testing.T) {
			// The good one first, so that it would show if anything of it was left over.
			if got, _, ok := a.Read([][]byte{good}, noon); !ok || got != m {
				t.Fatalf("the good one was read as %x, %t", got, ok)
			}
			if got, _, ok := a.Read([][]byte{value}, noon); ok {
				t.Errorf("%.60q was read as %x", value, got)
			}
		})
	}
	if same := resign(a, good, epochOf(noon), func([]byte) {}); !bytes.Equal(same, good) {
		t.Fatalf("what the test signs is not what Value does: %s and %s", same, good)
	}
	for i := range rawSize * 8 {
		if _, _, ok := a.Read([][]byte{bit(i)}, noon); ok {
			t.Errorf("bit %d is not covered", i)
		}
	}
}

func TestOfSeveralCookiesTheFirstGoodOneCounts(t *testing.T) {
	a := newAffinity("web", time.Hour)
	first, second := a.Value(1, noon), a.Value(2, noon)
	bad := []byte("garbled")
	tests := map[string]struct {
		values [][]byte
		want   Mark // 0: none
	}{
		"none":               {nil, 0},
		"twice the same":     {[][]byte{first, first}, 1},
		"two good ones":      {[][]byte{second, first}, 2},
		"a bad one before":   {[][]byte{bad, first}, 1},
		"a bad one behind":   {[][]byte{second, bad}, 2},
		"the eighth":         {append(slices.Repeat([][]byte{bad}, 7), first), 1},
		"the ninth, too far": {append(slices.Repeat([][]byte{bad}, 8), first), 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, _, ok := a.Read(test.values, noon)
			if ok != (test.want != 0) || m != test.want {
				t.Errorf("read %x, %t; want %x", m, ok, test.want)
			}
		})
	}
}

func TestACookieIsGoodUntilItExpiresAcrossEpochs(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, time.Hour, 24 * time.Hour} {
		for _, issued := range []time.Time{noon, midnight.Add(-time.Second), midnight} {
			issuer, reader := newAffinity("web", ttl), newAffinity("web", ttl)
			value := [][]byte{issuer.Value(7, issued)}
			for after, want := range map[time.Duration]bool{
				0: true, ttl / 2: true, ttl - 1: true, ttl: false, ttl + 1: false, 2 * ttl: false, 72 * time.Hour: false,
			} {
				if m, _, ok := reader.Read(value, issued.Add(after)); ok != want || (ok && m != 7) {
					t.Errorf("ttl %v, issued at %v, after %v: %x, %t", ttl, issued, after, m, ok)
				}
			}
		}
	}
}

func TestAnEdgeThatRunsForDaysAgreesWithAFreshOne(t *testing.T) {
	old := newAffinity("web", time.Hour)
	for day := range 8 {
		now := noon.AddDate(0, 0, day)
		value := [][]byte{old.Value(7, now)}
		if _, _, ok := newAffinity("web", time.Hour).Read(value, now); !ok {
			t.Errorf("not on day %d", day)
		}
	}
}

func TestTheCookieOfAnEdgeWhoseClockIsAheadIsGood(t *testing.T) {
	a := newAffinity("web", time.Hour)
	value := [][]byte{a.Value(7, midnight)}
	for behind, want := range map[time.Duration]bool{time.Second: true, time.Minute: true, time.Minute + 1: false} {
		if _, _, ok := a.Read(value, midnight.Add(-behind)); ok != want {
			t.Errorf("%v behind: %t", behind, ok)
		}
	}
}

func TestSetCookie(t *testing.T) {
	a := NewAffinity(AffinityConfig{Cookie: "SSAFFINITY", TTL: 90*time.Minute + time.Millisecond, Path: "/app"}, "web", affinitySecret)
	for _, secure := range []bool{false, true} {
		line := a.SetCookie(7, secure, noon)
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if c.Name != "SSAFFINITY" || c.Path != "/app" || c.MaxAge != 5400 || !c.HttpOnly || c.Secure != secure ||
			c.SameSite != http.SameSiteLaxMode || c.Domain != "" || len(c.Unparsed) > 0 {
			t.Errorf("%s", line)
		}
		if m, expires, ok := a.Read([][]byte{[]byte(c.Value)}, noon); !ok || m != 7 || !expires.Equal(noon.Add(90*time.Minute)) {
			t.Errorf("its value is read as %x, %v, %t", m, expires, ok)
		}
	}
}

func TestASecretThatIsTooShortIsNoSecret(t *testing.T) {
	defer func() {
		if said, _ := recover().(string); !strings.Contains(said, "15 bytes") || strings.Contains(said, "0123456789abcde") {
			t.Errorf("it said %q", said)
		}
	}()
	NewAffinity(AffinityConfig{}, "web", affinitySecret[:15])
}

func TestConcurrentRequestsReadTheirOwnCookies(t *testing.T) {
	a := newAffinity("web", time.Hour)
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for i := range 200 {
				want, now := Mark(g*1000+i), noon.Add(time.Duration(i)*time.Hour)
				if m, _, ok := a.Read([][]byte{a.Value(want, now)}, now); !ok || m != want {
					t.Errorf("read %x, %t; want %x", m, ok, want)
				}
			}
		})
	}
	wait.Wait()
}

func TestReadDoesNotAllocate(t *testing.T) {
	a := newAffinity("web", time.Hour)
	values := [][]byte{[]byte("garbled"), bytes.Repeat([]byte("A"), valueSize), newAffinity("web2", time.Hour).Value(1, noon), a.Value(1, noon)}
	if n := testing.AllocsPerRun(100, func() {
		if _, _, ok := a.Read(values, noon); !ok {
			t.Error("not read")
		}
	}); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}

func BenchmarkAffinityRead(b *testing.B) {
	a := newAffinity("web", time.Hour)
	values := [][]byte{a.Value(1, noon)}
	b.ReportAllocs()
	for b.Loop() {
		a.Read(values, noon)
	}
}

// Whatever is read was issued: the very bytes that Value makes of it.
func FuzzAffinityRead(f *testing.F) {
	a := newAffinity("web", time.Hour)
	for _, issued := range []time.Time{noon, noon.Add(-59 * time.Minute), noon.Add(-2 * time.Hour)} {
		f.Add(a.Value(a.Mark("u"), issued), noon.Unix())
	}
	f.Add(newAffinity("web2", time.Hour).Value(1, noon), noon.Unix())
	f.Add(a.Value(math.MaxUint64, midnight), midnight.Unix()-30)
	f.Add([]byte("AAAA\r\n"), int64(0))
	f.Fuzz(func(t *testing.T, value []byte, seconds int64) {
		before := slices.Clone(value)
		m, expires, ok := a.Read([][]byte{value}, time.Unix(seconds, 0))
		if !bytes.Equal(value, before) {
			t.Fatal("the request was changed")
		}
		if ok && !bytes.Equal(value, a.Value(m, expires.Add(-time.Hour))) {
			t.Errorf("%q was read as %x until %v", value, m, expires)
		}
	})
}
