package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// compressed is what the name of a file's gzip form ends in.
const compressed = ".gz"

// file is one file of the bundle, ready to be served.
type file struct {
	contentType string
	plain, gzip variant // gzip has no content when there is no such form
}

// variant is one encoding of a file; each has an ETag of its own (RFC 9110
// section 8.8.3.3).
type variant struct {
	content []byte
	etag    string
}

func readFile(bundle fs.FS, name string) (*file, error) {
	contentType, known := contentTypes()[path.Ext(name)]
	if !known {
		return nil, fmt.Errorf("%s: no content type is known for files of this kind", name)
	}
	plain, err := fs.ReadFile(bundle, name)
	if err != nil {
		return nil, err
	}
	zipped, err := fs.ReadFile(bundle, name+compressed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &file{contentType, newVariant(plain), newVariant(zipped)}, nil
}

func newVariant(content []byte) variant {
	sum := sha256.Sum256(content)
	return variant{content, `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// contentTypes lists what a bundle may hold, so that a type never depends on
// the machine that serves it.
func contentTypes() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".svg":  "image/svg+xml",
		".txt":  "text/plain; charset=utf-8",
	}
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	chosen := f.choose(w.Header(), r)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(chosen.content))
}

// serveStatus answers with the file and a status of its own, so without regard
// to what the client has.
func (f *file) serveStatus(w http.ResponseWriter, r *http.Request, status int) {
	chosen := f.choose(w.Header(), r)
	w.Header().Set("Content-Length", strconv.Itoa(len(chosen.content)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(chosen.content) // the client may have gone
	}
}

// choose picks the variant that the client can read and sets its headers.
func (f *file) choose(header http.Header, r *http.Request) variant {
	chosen := f.plain
	if len(f.gzip.content) > 0 {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			chosen = f.gzip
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("Content-Type", f.contentType)
	header.Set("ETag", chosen.etag)
	return chosen
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3). A client that
// says nothing gets the plain form.
func acceptsGzip(accepted []string) bool {
	star := false
	for _, line := range accepted {
		for item := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return wanted(weight)
			case "*":
				star = wanted(weight)
			}
		}
	}
	return star
}

// wanted tells whether a weight such as "q=0.5" is not zero; none is 1.
func wanted(weight string) bool {
	value, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
	if !found {
		return true
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err == nil && q > 0
}
