// The house rules that a compiler does not check: who may import whom, that
// every room has a door sign, and that files stay readable in one sitting.
package gabion_test

import (
	"bytes"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors are the top-level rooms from the top down: a room may import its own
// packages and those of lower floors. conformance stands outside: it holds the
// server to its word as a peer would, so its programs see wire formats only.
var floors = []string{"cmd", "server", "rsvd", "odx", "auth", "store", "protocol"}

const maxLines = 800

type source struct {
	path, pkg string // path of the file, import path of its package below the module
	test      bool
	imports   []string
	lines     int
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{path: path, pkg: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go")}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			s.imports = append(s.imports, name)
		}
		s.lines = countLines(t, path)
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func countLines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func floor(pkg string) int {
	room, _, _ := strings.Cut(pkg, "/")
	for i, f := range floors {
		if f == room {
			return i
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, name := range s.imports {
			pkg, ours := strings.CutPrefix(name, "gabion/")
			if !ours {
				continue
			}
			from, to := floor(s.pkg), floor(pkg)
			outside := strings.HasPrefix(s.pkg, "conformance/")
			switch {
			case outside && strings.HasPrefix(pkg, "conformance/"):
			case outside && !strings.HasPrefix(pkg, "protocol/"):
				t.Errorf("%s imports %s: conformance sees wire formats only", s.path, name)
			case !outside && to < from:
				t.Errorf("%s imports %s, which stands above it", s.path, name)
			case strings.HasPrefix(pkg, "conformance"):
				if !outside {
					t.Errorf("%s imports %s: only tests may", s.path, name)
				}
			}
		}
	}
}

// The wire formats must stay pure: no I/O, no goroutine's business, no state.
func TestProtocolIsPure(t *testing.T) {
	forbidden := []string{"net", "os", "sync", "net/http", "log/slog", "context"}
	for _, s := range sources(t) {
		if s.test || !strings.HasPrefix(s.pkg, "protocol/") {
			continue
		}
		for _, name := range s.imports {
			for _, f := range forbidden {
				if name == f {
					t.Errorf("%s imports %s", s.path, name)
				}
			}
		}
	}
}

func TestEveryPackageHasADoorSign(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if s.pkg == "." || s.test || seen[s.pkg] || strings.HasPrefix(s.pkg, "cmd/") {
			continue
		}
		seen[s.pkg] = true
		if _, err := os.Stat(filepath.Join(s.pkg, "doc.go")); err != nil {
			t.Errorf("%s has no doc.go", s.pkg)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, s := range sources(t) {
		generated := strings.HasPrefix(filepath.Base(s.path), "z")
		if s.lines > maxLines && !generated {
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, maxLines)
		}
	}
}

func TestFormatted(t *testing.T) {
	for _, s := range sources(t) {
		b, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := format.Source(b); err != nil || string(f) != string(b) {
			t.Errorf("%s is not gofmt-ed (%v)", s.path, err)
		}
	}
}
