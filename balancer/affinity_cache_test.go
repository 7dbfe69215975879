package balancer

import (
	"net/http"
	"slices"
	"testing"
)

// TestAnswersWithAnAffinityCookieAreNotForSharedCaches: a cookie of one client
// would be handed to others. Those without are left alone.
func TestAnswersWithAnAffinityCookieAreNotForSharedCaches(t *testing.T) {
	var says []string
	web := startServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Header()["Cache-Control"] = says })
	e := startEdge(t, onePool(withAffinity, web))
	client := e.client()
	for _, c := range []struct{ upstream, first []string }{
		{nil, []string{"private"}},
		{[]string{"public, max-age=60"}, []string{"public, max-age=60", "private"}},
		{[]string{`private="x-a", s-maxage=60`}, []string{`private="x-a", s-maxage=60`, "private"}},
		{[]string{"Private, max-age=60"}, []string{"Private, max-age=60"}},
		{[]string{"no-cache", "no-store"}, []string{"no-cache", "no-store"}},
	} {
		says = c.upstream
		ask := func(cookies []*http.Cookie) *http.Response {
			request, err := http.NewRequestWithContext(t.Context(), "GET", e.url("/"), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, cookie := range cookies {
				request.AddCookie(cookie)
			}
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			return answer
		}
		first := ask(nil)
		if got := first.Header.Values("Cache-Control"); len(first.Cookies()) != 1 || !slices.Equal(got, c.first) {
			t.Errorf("%q with a cookie: %q, want %q", c.upstream, got, c.first)
		}
		if again := ask(first.Cookies()); len(again.Cookies()) != 0 || !slices.Equal(again.Header.Values("Cache-Control"), c.upstream) {
			t.Errorf("%q without a cookie: %q", c.upstream, again.Header.Values("Cache-Control"))
		}
	}
}
