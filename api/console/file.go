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

	"github.com/klauspost/compress/zstd"
)

// compressed is what the name of a file's gzip form ends in.
const compressed = ".gz"

// file is one file of the bundle, ready to be served.
type file struct {
	contentType       string
	plain, gzip, zstd variant // those without content do not exist
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
	f := &file{contentType: contentType, plain: newVariant(plain), gzip: newVariant(zipped)}
	if len(zipped) > 0 { // the build found it worth while
		f.zstd = newVariant(toZstd(plain))
	}
	return f, nil
}

// toZstd compresses at the start what the build can't: the whole console takes
// some 20 ms.
func toZstd(plain []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(fmt.Sprintf("the options of zstd are wrong: %v", err)) // they are constants
	}
	defer w.Close()
	return w.EncodeAll(plain, nil)
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

// choose picks the variant that the client likes best, of those that it likes
// alike the smallest, and sets its headers.
func (f *file) choose(header http.Header, r *http.Request) variant {
	chosen := f.plain
	if len(f.gzip.content) > 0 {
		header.Set("Vary", "Accept-Encoding")
		accepted := r.Header.Values("Accept-Encoding")
		gzip, zstd := weightOf(accepted, "gzip"), weightOf(accepted, "zstd")
		switch {
		case zstd > gzip, zstd > 0 && zstd == gzip && len(f.zstd.content) <= len(f.gzip.content):
			chosen = f.zstd
			header.Set("Content-Encoding", "zstd")
		case gzip > 0:
			chosen = f.gzip
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("Content-Type", f.contentType)
	header.Set("ETag", chosen.etag)
	return chosen
}

// weightOf is how much a client likes a coding (RFC 9110 section 12.5.3), 0 to 1;
// 0: it does not take it. A client that says nothing gets the plain form.
func weightOf(accepted []string, coding string) float64 {
	star := 0.0
	for _, line := range accepted {
		for item := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(item, ";")
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case coding, "x-" + coding: // RFC 9110 section 8.4.1.3 has x-gzip
				return quality(weight)
			case "*":
				star = quality(weight)
			}
		}
	}
	return star
}

// quality reads a weight such as "q=0.5"; none is 1.
func quality(weight string) float64 {
	value, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
	if !found {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !(q > 0 && q <= 1) {
		return 0
	}
	return q
}
