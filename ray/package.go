package ray

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// PackagedBinary is the name of the executable at the root of a package that BinaryPackage makes.
const PackagedBinary = "seedcore"

// maxPackage bounds packages: they travel and are kept in one message of the GCS.
const maxPackage = 500 << 20

// packageLayout goes into the hash; a change of the archive's form must change it.
const packageLayout = "seedcore package 1\n"

// Package is a zip archive for RuntimeEnv.WorkingDir, named by the hash of its content: the same content has the same URI
// everywhere.
type Package struct {
	path string
	sum  [sha256.Size]byte
	hash string
}

// BinaryPackage makes a package of one executable, which it contains under the name PackagedBinary. The file is read to
// name the package; the archive is built when it is uploaded first, and the file must not change until then. A process
// keeps the archive that it uploaded last in memory. It must be a static program for the nodes' platform: what can be
// checked here is that it is an ELF file.
func BinaryPackage(path string) (*Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("ray: package: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	p := &Package{path: path}
	if p.sum, err = hashELF(f); err != nil {
		return nil, fmt.Errorf("ray: package of %s: %w", path, err)
	}
	name := sha256.Sum256(append([]byte(packageLayout), p.sum[:]...))
	p.hash = hex.EncodeToString(name[:16])
	return p, nil
}

// hashELF hashes an executable.
func hashELF(r io.Reader) (sum [sha256.Size]byte, err error) {
	magic := make([]byte, 4)
	switch _, err := io.ReadFull(r, magic); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil && string(magic) != "\x7fELF":
		return sum, errors.New("not an ELF executable; build the program for the nodes of the cluster (GOOS=linux)")
	case err != nil:
		return sum, err
	}
	h := sha256.New()
	h.Write(magic)
	n, err := io.Copy(h, io.LimitReader(r, maxPackage))
	if err != nil {
		return sum, err
	}
	if n == maxPackage {
		return sum, fmt.Errorf("more than %d bytes, the most that Ray stores", maxPackage)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// URI returns the name under which the cluster knows the package.
func (p *Package) URI() string { return "gcs://_ray_pkg_" + p.hash + ".zip" }

// archives keeps the archive that was built last: a process has one program, and uploads it again whenever a cluster
// has dropped it. The mutex is held while one is built, so that callers at once build it once.
var archives struct {
	sync.Mutex // guards uri and data
	uri        string
	data       []byte
}

// archive returns the zip. The file is read and checked only when it is not the one that was built last.
func (p *Package) archive() ([]byte, error) {
	archives.Lock()
	defer archives.Unlock()
	if archives.uri == p.URI() {
		return archives.data, nil
	}
	data, err := p.build()
	if err == nil {
		archives.uri, archives.data = p.URI(), data
	}
	return data, err
}

func (p *Package) build() ([]byte, error) {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(content) != p.sum {
		return nil, fmt.Errorf("%s changed since the package was made; make a new one", p.path)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	// The fastest level is a few percent larger and done in a third of the time, which is what a first start waits for.
	w.RegisterCompressor(zip.Deflate, func(to io.Writer) (io.WriteCloser, error) { return flate.NewWriter(to, flate.BestSpeed) })
	header := &zip.FileHeader{Name: PackagedBinary, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	// Ray applies the mode only if the archive has one; without it the program could not be started.
	header.SetMode(0o755)
	entry, err := w.CreateHeader(header)
	if err != nil {
		return nil, err
	}
	if _, err := entry.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// UploadPackage makes the package available in the cluster, unless it is there, and returns its URI. Ray drops a package
// soon after the last actor that names it has ended: call this before every creation.
func (s *Session) UploadPackage(ctx context.Context, p *Package) (uri string, err error) {
	uri = p.URI()
	exists, err := s.KVExists(ctx, "", uri)
	if err != nil {
		return "", fmt.Errorf("ray: upload package: %w", err)
	}
	if exists {
		return uri, nil
	}
	data, err := p.archive()
	if err != nil {
		return "", fmt.Errorf("ray: upload package: %w", err)
	}
	if _, err := s.KVPut(ctx, "", uri, data, true); err != nil {
		return "", fmt.Errorf("ray: upload package: %w", err)
	}
	return uri, nil
}
