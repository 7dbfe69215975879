package listen_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/listen"
)

func TestARequestOfHTTP2ArrivesAsItWasSent(t *testing.T) {
	d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%s %s %s host=%s cookie=%q proto=%s for=%s agent=%q type=%q body=%s trailer=%s",
			r.Proto, r.Method, r.RequestURI, r.Host, r.Header["Cookie"], r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"),
			r.Header["User-Agent"], r.Header["Content-Type"], body, r.Trailer.Get("X-Sent"))
		w.Header().Set("X-Sum", "7")
	}, nil)
	request, _ := http.NewRequest("POST", d.url("/a%2Fb//c?d=%20&e;f"), io.NopCloser(strings.NewReader("body")))
	request.Host = "desk.example.org"
	request.Header = http.Header{"Cookie": {"a=1; b=2"}, "User-Agent": {""}, "X-Forwarded-For": {"192.0.2.1"}, "Te": {"trailers"}}
	request.Trailer = http.Header{"X-Sent": {"yes"}}
	response, err := d.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	const want = `HTTP/1.1 POST /a%2Fb//c?d=%20&e;f host=desk.example.org cookie=["a=1; b=2"] proto=https for=127.0.0.1 agent=[] type=[] body=body trailer=yes`
	if err != nil || response.ProtoMajor != 2 || string(body) != want {
		t.Errorf("%s\n%s\nwant\n%s (%v)", response.Proto, body, want, err)
	}
	if response.Trailer.Get("X-Sum") != "7" {
		t.Errorf("the trailers are %q", response.Trailer)
	}
	if kind, has := response.Header["Content-Type"]; has {
		t.Errorf("a Content-Type %q was made up", kind)
	}
	if cookie := response.Header.Get("Set-Cookie"); !strings.HasSuffix(cookie, "; Secure") {
		t.Errorf("over TLS the cookie is %q", cookie)
	}
}

func TestInterimAnswersAndHEADPassThroughHTTP2(t *testing.T) {
	d := openDoor(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Content-Length", "1234")
		w.WriteHeader(http.StatusOK)
	}, nil)
	hints := make(chan string, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints <- fmt.Sprint(code, " ", header.Get("Link"))
		return nil
	}})
	request, _ := http.NewRequestWithContext(ctx, "HEAD", d.url("/"), nil)
	response, err := d.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ContentLength != 1234 {
		t.Errorf("%s, a length of %d", response.Status, response.ContentLength)
	}
	select {
	case hint := <-hints:
		if hint != "103 </style.css>; rel=preload" {
			t.Errorf("the interim answer is %s", hint)
		}
	default:
		t.Error("the interim answer did not come")
	}
}

func TestHTTP2StreamsWithoutDelay(t *testing.T) {
	arrived := make(chan string)
	answer := make(chan string)
	d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 16)
		for range 2 {
			n, _ := io.ReadFull(r.Body, b[:5])
			arrived <- string(b[:n])
		}
		_, _ = io.Copy(io.Discard, r.Body)
		for text := range answer {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		}
	}, nil)
	reader, writer := io.Pipe()
	request, _ := http.NewRequest("POST", d.url("/"), reader)
	got := make(chan *http.Response, 1)
	go func() {
		response, err := d.client().Do(request)
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		got <- response
	}()
	for _, piece := range []string{"first", "other"} {
		_, _ = io.WriteString(writer, piece)
		if text := await(t, arrived); text != piece {
			t.Errorf("%q arrived, not %q", text, piece)
		}
	}
	_ = writer.Close()
	answer <- "begin"
	response := await(t, got)
	defer response.Body.Close()
	b := make([]byte, 5)
	for _, piece := range []string{"begin", "three"} {
		if piece != "begin" {
			answer <- piece
		}
		if _, err := io.ReadFull(response.Body, b); err != nil || string(b) != piece {
			t.Errorf("%q came, not %q: %v", b, piece, err)
		}
	}
	close(answer)
	if rest, err := io.ReadAll(response.Body); len(rest) > 0 || err != nil {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func TestAStreamThatIsResetEndsItsRequest(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	request, _ := http.NewRequestWithContext(ctx, "GET", d.url("/"), nil)
	done := make(chan error, 1)
	go func() {
		response, err := d.client().Do(request)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	await(t, begun)
	cancel()
	if err := await(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("the client's end: %v", err)
	}
	await(t, ended)
}

func TestAnAnswerThatBreaksOffDoesSoForTheClient(t *testing.T) {
	d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 100000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, nil)
	response, err := d.client().Get(d.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the client takes it for whole")
	}
}

// TestStreamsFinishAfterGOAWAY, and new requests go elsewhere.
func TestStreamsFinishAfterGOAWAY(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/long" {
			return
		}
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, "whole")
	}, nil)
	client := d.client()
	result := make(chan string, 1)
	go func() {
		response, err := client.Get(d.url("/long"))
		if err != nil {
			result <- err.Error()
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		result <- fmt.Sprint(string(body), " ", err)
	}()
	await(t, begun)
	ended := make(chan error, 1)
	go func() { ended <- d.http2.Shutdown(t.Context()) }()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait for the stream: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	if text := await(t, result); text != "whole <nil>" {
		t.Errorf("the stream ended with %s", text)
	}
	if err := await(t, ended); err != nil {
		t.Error(err)
	}
}

func TestTheDeadlineOfADrainEndsStreams(t *testing.T) {
	begun := make(chan struct{})
	d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}, nil)
	done := make(chan error, 1)
	go func() {
		response, err := d.client().Get(d.url("/"))
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	await(t, begun)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.http2.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the drain: %v", err)
	}
	if await(t, done) == nil {
		t.Error("the client got an answer")
	}
}

func TestStreamsThatStandStillAreEnded(t *testing.T) {
	short := func(o *listen.HTTP2Options) {
		o.Timeouts.Body, o.Timeouts.Write = 200*time.Millisecond, 200*time.Millisecond
	}
	t.Run("a body", func(t *testing.T) {
		d := openDoor(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, short)
		reader, writer := io.Pipe()
		defer writer.Close()
		response, err := d.client().Post(d.url("/"), "", reader)
		if err == nil {
			response.Body.Close()
			if response.StatusCode < 400 {
				t.Errorf("it was answered with %s", response.Status)
			}
		}
	})
	t.Run("an answer", func(t *testing.T) {
		ended := make(chan struct{})
		d := openDoor(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, short)
		response, err := d.client().Get(d.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		await(t, ended) // nobody reads it
	})
}

func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(hang):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
