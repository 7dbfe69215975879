package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestAStopDelaysAllWhoWouldHaveCome: a load generator that waits for an answer
// before it asks again would see one delay where all who were due meanwhile have
// one.
func TestAStopDelaysAllWhoWouldHaveCome(t *testing.T) {
	const stop, interval = 200 * time.Millisecond, time.Millisecond
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 5 {
			time.Sleep(stop)
		}
		_, _ = io.WriteString(w, smallBody())
	}))
	defer server.Close()
	failed := make(chan error, 1)
	c := newClients(clientPlan{Door: door{Address: server.Listener.Addr().String()}, Load: byRate, Request: visit{path: "/"}.request(""),
		Body: smallBody(), Rate: int(time.Second / interval), Clients: 1}, func(err error) { failed <- err })
	defer c.close()
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mark()
	c.start()
	eventually(t, "the answers after the stop do not come", func() bool { return asked.Load() > int64(stop/interval) })
	c.stop()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	counts := c.counts()
	late := 0
	for _, bar := range counts.Delays.Distribution() {
		if bar.From >= int64(stop/2) {
			late += int(bar.Count)
		}
	}
	if want := int(stop / 2 / interval); late < want*9/10 {
		t.Errorf("%d of %d delays are half of the stop or longer; all who were due in its first half, about %d, have one", late, counts.Answers, want)
	}
}

func TestClientsLeaveNoRequestWithoutAnswer(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, smallBody())
	}))
	defer server.Close()
	for _, load := range []load{byRate, byArrive} {
		asked.Store(0)
		c := newClients(clientPlan{Door: door{Address: server.Listener.Addr().String()}, Load: load, Request: visit{path: "/", close: load == byArrive}.request(""),
			Body: smallBody(), Rate: 2000, Clients: 3}, func(err error) { t.Error(err) })
		if err := c.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.mark()
		c.start()
		eventually(t, "nobody asks", func() bool { return asked.Load() > 50 })
		c.stop()
		if got := c.counts().Answers; got != asked.Load() {
			t.Errorf("load %d: %d were asked, %d answered", load, asked.Load(), got)
		}
		c.close()
	}
}
