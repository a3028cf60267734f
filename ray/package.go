package ray

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// ErrUnsupportedBinary means: a file is not a program that the cluster's nodes can run. Nothing was sent.
var ErrUnsupportedBinary = errors.New("ray: unsupported binary")

// PackagedBinary is the name of the executable at the root of a package that BinaryPackage makes. One that JoinPackages
// makes has several, with a dash and what `uname -m` says on their nodes after it.
const PackagedBinary = "seedcore"

// machines are the names of architectures in Linux (uname -m), by their names in Go.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// maxPackage bounds packages: they travel and are kept in one message of the GCS.
const maxPackage = 500 << 20

// packageLayout goes into the hash; a change of the archive's form must change it.
const (
	packageLayout = "seedcore package 1\n"
	joinedLayout  = "seedcore joined package 1\n"
	filesLayout   = "seedcore files 1\n"
)

// Package is a zip archive for RuntimeEnv.WorkingDir or RuntimeEnv.PyModules, named by the hash of its content: the same
// content has the same URI everywhere.
type Package struct {
	hash     string
	programs []program // one for each platform; nil for files
	// archive builds the zip.
	archive func() ([]byte, error)
}

// program is an executable file, as it was when its package was made.
type program struct {
	platform, path string
	sum            [sha256.Size]byte
}

// BinaryPackage makes a package of one executable, which it contains under the name PackagedBinary. The file is read to
// name the package; the archive is built when it is uploaded first, and the file must not change until then. A process
// keeps the archive that it uploaded last in memory. It must be a program for 64-bit Linux, on x86 or ARM, and should be
// static: ErrUnsupportedBinary otherwise.
func BinaryPackage(path string) (*Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("ray: package: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	platform, err := elfPlatform(f)
	if err != nil {
		return nil, fmt.Errorf("ray: package of %s: %w", path, err)
	}
	sum, err := hashOf(f)
	if err != nil {
		return nil, fmt.Errorf("ray: package of %s: %w", path, err)
	}
	name := sha256.Sum256(append([]byte(packageLayout), sum[:]...))
	hash := hex.EncodeToString(name[:16])
	return binaryPackage(hash, program{platform, path, sum}), nil
}

func binaryPackage(hash string, programs ...program) *Package {
	return &Package{hash: hash, programs: programs, archive: func() ([]byte, error) { return archiveBinary(hash, programs) }}
}

// JoinPackages makes one package of those of a program for several platforms, for a cluster of several kinds of nodes: each
// node starts the program for its own. ErrUnsupportedBinary if two are for the same platform, or one has no program. A single
// package is returned as it is.
func JoinPackages(packages ...*Package) (*Package, error) {
	if len(packages) == 0 {
		return nil, fmt.Errorf("%w: no packages to join", ErrInvalidOption)
	}
	for i, p := range packages {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("%w: packages[%d]: %w", ErrInvalidOption, i, err)
		}
	}
	if len(packages) == 1 {
		return packages[0], nil
	}
	var programs []program
	for _, p := range packages {
		if len(p.programs) != 1 {
			return nil, fmt.Errorf("%w: a package with %d programs cannot be joined with others", ErrUnsupportedBinary, len(p.programs))
		}
		programs = append(programs, p.programs[0])
	}
	slices.SortFunc(programs, func(a, b program) int { return strings.Compare(a.platform, b.platform) })
	name := sha256.New()
	name.Write([]byte(joinedLayout))
	for i, p := range programs {
		if i > 0 && p.platform == programs[i-1].platform {
			return nil, fmt.Errorf("%w: %s and %s are both for %s", ErrUnsupportedBinary, programs[i-1].path, p.path, p.platform)
		}
		fmt.Fprintf(name, "%s %x\n", p.platform, p.sum)
	}
	return binaryPackage(hex.EncodeToString(name.Sum(nil)[:16]), programs...), nil
}

// FilePackage makes a package of the files in a file system: os.DirFS, an embed.FS, or a part of one by fs.Sub. What is at
// its root is at the root of the working directory, or of what can be imported: for PyModules a Python package is a
// directory there. Directories named .git and __pycache__ are left out; anything that is neither a file nor a directory is
// an error. The files are read now to name the package and again when it is uploaded, and must not change in between.
func FilePackage(files fs.FS) (*Package, error) {
	if files == nil {
		return nil, fmt.Errorf("%w: the files of a package are nil", ErrInvalidOption)
	}
	hash, err := hashFiles(files)
	if err != nil {
		return nil, fmt.Errorf("ray: package: %w", err)
	}
	return &Package{hash: hash, archive: func() ([]byte, error) {
		data, err := archiveFiles(files)
		if err != nil {
			return nil, err
		}
		if again, err := hashFiles(files); err != nil || again != hash {
			return nil, errors.Join(errors.New("the files changed since the package was made; make a new one"), err)
		}
		return data, nil
	}}, nil
}

// walkFiles calls visit for each file that belongs into a package, in the order of their paths.
func walkFiles(files fs.FS, visit func(name string, info fs.FileInfo, open io.Reader) error) error {
	count, total := 0, int64(0)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "__pycache__"):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", name)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		count++
		if total += info.Size(); total > maxPackage {
			return fmt.Errorf("more than %d bytes, the most that Ray stores", maxPackage)
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		return visit(name, info, f)
	})
	if err == nil && count == 0 {
		err = errors.New("there are no files")
	}
	return err
}

// fileMode is all of a file's mode that a package keeps.
func fileMode(info fs.FileInfo) fs.FileMode {
	if info.Mode()&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

func hashFiles(files fs.FS) (string, error) {
	all := sha256.New()
	all.Write([]byte(filesLayout))
	err := walkFiles(files, func(name string, info fs.FileInfo, content io.Reader) error {
		one := sha256.New()
		if _, err := io.Copy(one, content); err != nil {
			return err
		}
		_, err := fmt.Fprintf(all, "%q %o %x\n", name, fileMode(info), one.Sum(nil))
		return err
	})
	return hex.EncodeToString(all.Sum(nil)[:16]), err
}

func archiveFiles(files fs.FS) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	if err := walkFiles(files, func(name string, info fs.FileInfo, content io.Reader) error {
		entry, err := zipEntry(w, name, fileMode(info))
		if err == nil {
			_, err = io.Copy(entry, content)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// zipEntry begins a file that looks the same whenever it is packed.
func zipEntry(w *zip.Writer, name string, mode fs.FileMode) (io.Writer, error) {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	// Ray applies the mode only if the archive has one; without it a program could not be started.
	header.SetMode(mode)
	return w.CreateHeader(header)
}

// BinaryPackages makes packages of the same program for several platforms, from a list such as
// "linux/amd64=path,linux/arm64=path", or of one that is named by its path alone. ErrUnsupportedBinary if a file is not what
// the list says.
func BinaryPackages(list string) ([]*Package, error) {
	var packages []*Package
	for program := range strings.SplitSeq(list, ",") {
		said, path, named := strings.Cut(program, "=")
		if !named {
			said, path = "", program
		}
		p, err := BinaryPackage(strings.TrimSpace(path))
		if err != nil {
			return nil, err
		}
		if named && strings.TrimSpace(said) != p.Platform() {
			return nil, fmt.Errorf("%w: %s is a program for %s, not for %s", ErrUnsupportedBinary, path, p.Platform(), said)
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// elfPlatform tells for which platform an executable was built.
func elfPlatform(r io.ReaderAt) (string, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("%w: it is not an ELF file (%w); build the program for the nodes of the cluster (GOOS=linux)", ErrUnsupportedBinary, err)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return "", fmt.Errorf("%w: it is an ELF file, but not a program (%v)", ErrUnsupportedBinary, f.Type)
	}
	if f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX {
		return "", fmt.Errorf("%w: it is a program for %v, not for Linux", ErrUnsupportedBinary, f.OSABI)
	}
	arch := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
	if arch == "" || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return "", fmt.Errorf("%w: it is a program for %v (%v); Ray runs on amd64 and arm64", ErrUnsupportedBinary, f.Machine, f.Class)
	}
	return "linux/" + arch, nil
}

func hashOf(f *os.File) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f, 0, maxPackage))
	if err != nil {
		return sum, err
	}
	if n == maxPackage {
		return sum, fmt.Errorf("%w: more than %d bytes, the most that Ray stores", ErrUnsupportedBinary, maxPackage)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Platform returns the platform that the program was built for, such as "linux/amd64"; those of several with commas, and ""
// for a package of files.
func (p *Package) Platform() string {
	if p == nil {
		return ""
	}
	var all []string
	for _, program := range p.programs {
		all = append(all, program.platform)
	}
	return strings.Join(all, ",")
}

// checkPlatform refuses a program that a node of a platform cannot run.
func (p *Package) checkPlatform(platform string) error {
	if len(p.programs) == 0 || slices.ContainsFunc(p.programs, func(of program) bool { return of.platform == platform }) {
		return nil
	}
	goos, goarch, _ := strings.Cut(platform, "/")
	return fmt.Errorf("%w: the cluster's nodes are %s, and there is a program for %s: build one with GOOS=%s GOARCH=%s CGO_ENABLED=0",
		ErrUnsupportedBinary, platform, p.Platform(), goos, goarch)
}

// String returns the URI.
func (p *Package) String() string { return p.URI() }

// URI returns the name under which the cluster knows the package; "" for nil.
func (p *Package) URI() string {
	if p.check() != nil {
		return ""
	}
	return "gcs://_ray_pkg_" + p.hash + ".zip"
}

// check refuses what no function of this file made.
func (p *Package) check() error {
	switch {
	case p == nil:
		return errors.New("nil")
	case p.archive == nil:
		return errors.New("empty; make one with FilePackage or BinaryPackage")
	}
	return nil
}

// archives keeps the archive of a program that was built last: a process has one, and uploads it again whenever a cluster
// has dropped it. The mutex is held while one is built, so that callers at once build it once.
var archives struct {
	sync.Mutex // guards hash and data
	hash       string
	data       []byte
}

// archiveBinary returns the zip. The files are read and checked only when it is not the one that was built last.
func archiveBinary(hash string, programs []program) ([]byte, error) {
	archives.Lock()
	defer archives.Unlock()
	if archives.hash == hash {
		return archives.data, nil
	}
	data, err := buildBinary(programs)
	if err == nil {
		archives.hash, archives.data = hash, data
	}
	return data, err
}

func buildBinary(programs []program) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	// The fastest level is a few percent larger and done in a third of the time, which is what a first start waits for.
	w.RegisterCompressor(zip.Deflate, func(to io.Writer) (io.WriteCloser, error) { return flate.NewWriter(to, flate.BestSpeed) })
	for _, p := range programs {
		content, err := os.ReadFile(p.path)
		if err != nil {
			return nil, err
		}
		if sha256.Sum256(content) != p.sum {
			return nil, fmt.Errorf("%s changed since the package was made; make a new one", p.path)
		}
		name := PackagedBinary
		if len(programs) > 1 {
			name += "-" + machines[strings.TrimPrefix(p.platform, "linux/")]
		}
		entry, err := zipEntry(w, name, 0o755)
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if out.Len() > maxPackage {
		return nil, fmt.Errorf("%w: more than %d bytes, the most that Ray stores", ErrUnsupportedBinary, maxPackage)
	}
	return out.Bytes(), nil
}

// UploadPackage makes the package available in the cluster, unless it is there, and returns its URI. The session keeps it
// there while it lives, as it does the last 100 packages that it uploaded: it uploads one again that Ray dropped, so that the
// package's files have to stay as they are. Ray drops a package some ten minutes after the end of the last session that keeps
// it, unless a job or a detached actor names it: see ErrPackageGone. ErrUnsupportedBinary if it is of a program that is not
// for the cluster's nodes, see Session.Platform; nothing was uploaded then.
func (s *Session) UploadPackage(ctx context.Context, p *Package) (uri string, err error) {
	if err := p.check(); err != nil {
		return "", fmt.Errorf("%w: package: %w", ErrInvalidOption, err)
	}
	if len(p.programs) > 0 {
		platform, err := s.Platform(ctx)
		if err == nil {
			err = p.checkPlatform(platform)
		}
		if err != nil {
			return "", fmt.Errorf("ray: upload package: %w", err)
		}
	}
	return s.upload(ctx, p)
}

// upload puts a package into the cluster, and keeps it there.
func (s *Session) upload(ctx context.Context, p *Package) (uri string, err error) {
	since := time.Now()
	if _, err := s.store(ctx, p); err != nil {
		return "", fmt.Errorf("ray: upload package: %w", err)
	}
	s.pins.add(p, since)
	return p.URI(), nil
}

// store puts a package into the cluster unless it is there, where it stays for the time of a pin. gone tells that it is not
// there and cannot be made.
func (s *Session) store(ctx context.Context, p *Package) (gone bool, err error) {
	uri := p.URI()
	// First: what is there now could be dropped before it is pinned.
	if err := s.pin(ctx, uri); err != nil {
		return false, err
	}
	exists, err := s.KVExists(ctx, "", uri)
	if err != nil || exists {
		return false, err
	}
	data, err := p.archive()
	if err != nil {
		return true, err
	}
	_, err = s.KVPut(ctx, "", uri, data, true)
	return false, err
}

// pin keeps a package. Ray's server takes this from clients that have no session yet only, so that it goes out under the
// name of one that never will.
func (s *Session) pin(ctx context.Context, uri string) error {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	ctx, cancel := bound(ctx, s.cfg.CallTimeout, 0)
	defer cancel()
	ctx, cut := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "client_id", hex.EncodeToString(id)))
	defer cut()
	defer context.AfterFunc(s.ctx, cut)()
	_, err := s.rpc.PinRuntimeEnvURI(ctx, &raypb.ClientPinRuntimeEnvURIRequest{Uri: uri, ExpirationS: int32(s.cfg.bounds.pinned / time.Second)}, grpc.WaitForReady(true))
	if err != nil {
		if ctx.Err() != nil && s.ctx.Err() == nil {
			err = ended(ctx)
		}
		return fmt.Errorf("pin %s: %w", uri, err)
	}
	return nil
}

// Platform returns the platform of the node that the session's server runs on, such as "linux/amd64". That of a cluster of
// several architectures is that of its head.
func (s *Session) Platform(ctx context.Context) (string, error) {
	h, err := s.once(ctx, "platform", pickle.Call{Func: pickle.Global{Module: "platform", Name: "platform"}, Args: pickle.Tuple{}})
	if err != nil {
		return "", err
	}
	v, err := s.get(ctx, "platform", h)
	if err != nil {
		return "", err
	}
	text, ok := v.(string) // such as Linux-6.1.0-18-cloud-amd64-x86_64-with-glibc2.36
	if !ok {
		return "", &CallError{Target: "platform", Sent: SentYes, Err: fmt.Errorf("%w: %v", errBadAnswer, v)}
	}
	system, rest, _ := strings.Cut(text, "-")
	for machine, arch := range map[string]string{"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"} {
		if strings.Contains(rest, "-"+machine) {
			return strings.ToLower(system) + "/" + arch, nil
		}
	}
	return strings.ToLower(system) + "/" + rest, nil
}
