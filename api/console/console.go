// Package console serves the web console and the viewer page from the bundle
// that the build of web/ puts into dist/, which is embedded in the binary.
package console

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// Handler serves the embedded bundle. Without one, as after a plain
// `go build`, every page says how to make it.
func Handler() http.Handler {
	bundle, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // "dist" is a valid path
	}
	h, err := New(bundle)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unbuilt{}
	case err != nil:
		panic(fmt.Sprintf("the embedded console can't be read: %v", err))
	}
	return h
}

// Files of a bundle. Everything else in it is served under assetPath, by a
// name that changes with the content.
const (
	indexFile    = "index.html"
	notFoundFile = "not-found.html"
	assetPath    = "/assets/"
)

// pages serves one bundle. It is immutable.
type pages struct {
	index, notFound *file
	assets          map[string]*file // by URL path
}

// New reads a bundle: index.html, not-found.html and assets/, each with an
// optional compressed NAME.gz beside it. fs.ErrNotExist when a page is missing.
func New(bundle fs.FS) (http.Handler, error) {
	p := &pages{assets: map[string]*file{}}
	var err error
	if p.index, err = readFile(bundle, indexFile); err != nil {
		return nil, err
	}
	if p.notFound, err = readFile(bundle, notFoundFile); err != nil {
		return nil, err
	}
	err = fs.WalkDir(bundle, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) == compressed {
			return err
		}
		p.assets["/"+name], err = readFile(bundle, name)
		return err
	})
	return p, err
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	header := w.Header()
	if strings.HasPrefix(r.URL.Path, assetPath) {
		if asset := p.assets[r.URL.Path]; asset != nil {
			setCommon(header)
			header.Set("Cache-Control", "public, max-age=31536000, immutable")
			asset.serve(w, r)
			return
		}
	}
	setPage(header, r)
	if r.URL.Path == "/" || isDesktop(r.URL.Path) {
		p.index.serve(w, r)
		return
	}
	p.notFound.serveStatus(w, r, http.StatusNotFound)
}

// isDesktop tells whether it is the page of one desktop. Which desktops there
// are, the page itself finds out.
func isDesktop(urlPath string) bool {
	id, found := strings.CutPrefix(urlPath, "/desktop/")
	return found && id != "" && !strings.Contains(id, "/")
}

func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "This is a page: it can be read with GET, nothing else.", http.StatusMethodNotAllowed)
	return false
}

func setCommon(header http.Header) {
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// setPage keeps a page to itself: nobody frames it, nothing of another origin
// runs in it or is told about it.
func setPage(header http.Header, r *http.Request) {
	setCommon(header)
	header.Set("Cache-Control", "no-cache")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), "+
		"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	header.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'self'",
		"connect-src 'self'" + socketSource(r.Host),
		"img-src 'self' data: blob:", // noVNC makes the remote pointer a data: cursor
		"style-src 'self'",
		"script-src 'self'",
		"object-src 'none'",
		"frame-ancestors 'none'",
		"base-uri 'none'",
		"form-action 'self'",
	}, "; "))
}

var plainHost = regexp.MustCompile(`^[A-Za-z0-9._\-]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)

// socketSource names the page's own WebSockets for browsers that do not count
// them as 'self' (Safari before 15.4).
func socketSource(host string) string {
	if !plainHost.MatchString(host) {
		return ""
	}
	return " wss://" + host
}

// unbuilt serves a binary that was built without its console.
type unbuilt struct{}

func (unbuilt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	setPage(w.Header(), r)
	status, text := http.StatusNotFound, "There is no such page.\n"
	if r.URL.Path == "/" || isDesktop(r.URL.Path) {
		status, text = http.StatusOK, "The web console is not part of this binary: it was built without it.\n\nRun `make build` in the source tree, then start bin/streamspace again.\nThe API at /api/v1/ works as usual.\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client may have gone
}
