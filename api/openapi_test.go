package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// described is openapi.yaml, read once.
var described = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(description)
	if err == nil {
		err = doc.Validate(loader.Context)
	}
	return doc, err
})

var router = sync.OnceValues(func() (routers.Router, error) {
	doc, err := described()
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

func TestDescriptionIsValid(t *testing.T) {
	if _, err := described(); err != nil {
		t.Fatal(err)
	}
}

// TestDescriptionAndRoutesAreTheSame holds the two against each other, both
// ways.
func TestDescriptionAndRoutesAreTheSame(t *testing.T) {
	doc, err := described()
	if err != nil {
		t.Fatal(err)
	}
	var inDescription, served []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			inDescription = append(inDescription, method+" "+path)
		}
	}
	for _, r := range (&server{}).table() {
		served = append(served, r.method+" "+r.path)
	}
	served = append(served, ServedElsewhere()...)
	for _, one := range inDescription {
		if !slices.Contains(served, one) {
			t.Errorf("openapi.yaml describes %s, which nobody serves", one)
		}
	}
	for _, one := range served {
		if !slices.Contains(inDescription, one) {
			t.Errorf("%s is served, but not in openapi.yaml", one)
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	w := newWorld(t)
	a := w.want(http.StatusOK, w.send("GET", "/api/v1/openapi.yaml", ""))
	if !bytes.Equal(a.body, description) {
		t.Error("what is served is not openapi.yaml")
	}
}

// holdAgainstDescription checks the answer, and the request when it was
// accepted. What is not described must be a problem with 404 or 405.
func holdAgainstDescription(t testing.TB, request *http.Request, body string, a answer) {
	t.Helper()
	router, err := router()
	if err != nil {
		t.Fatal(err)
	}
	bare := request.Clone(context.Background())
	bare.URL.Scheme, bare.URL.Host, bare.Host = "", "", ""
	if bare.Method == http.MethodHead {
		return
	}
	route, parameters, err := router.FindRoute(bare)
	if err != nil {
		undescribed(t, request, a, err)
		return
	}
	if request.URL.Path == "/" || strings.HasPrefix(request.URL.Path, "/desktop/") {
		return
	}
	bare.Body = io.NopCloser(strings.NewReader(body))
	input := &openapi3filter.RequestValidationInput{
		Request: bare, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true,
		},
	}
	if a.status < http.StatusBadRequest && body != "" {
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			t.Errorf("%s %s was accepted, but openapi.yaml forbids it: %v", request.Method, request.URL.Path, err)
		}
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header, Options: input.Options,
		Body: io.NopCloser(bytes.NewReader(a.body)),
	})
	if err != nil {
		t.Errorf("%s %s: the answer %d is not as openapi.yaml says: %v", request.Method, request.URL.Path, a.status, err)
	}
}

func undescribed(t testing.TB, request *http.Request, a answer, err error) {
	t.Helper()
	if !errors.Is(err, routers.ErrPathNotFound) && !errors.Is(err, routers.ErrMethodNotAllowed) {
		var e *routers.RouteError
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
	}
	if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed && a.status < http.StatusInternalServerError {
		t.Errorf("%s %s is not in openapi.yaml, but answered %d", request.Method, request.URL.Path, a.status)
	}
}
