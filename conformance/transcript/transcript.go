package transcript

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

var rewrite = flag.Bool("rewrite", false, "write the results into the transcripts")

// Files lists a package's transcripts.
func Files(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files
}

// Play has do carry out the lines of a file, and compares what came of them.
func Play(t *testing.T, file string, do func(line string) string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	var out []string
	for i := 0; i < len(lines); {
		line := lines[i]
		out = append(out, line)
		i++
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var want []string
		for i < len(lines) && strings.HasPrefix(lines[i], "  ") {
			want = append(want, strings.TrimSpace(lines[i]))
			i++
		}
		got := strings.Split(do(line), "\n")
		if !slices.Equal(got, want) && !*rewrite {
			t.Errorf("%s:%d: %s\n  %s\nwant\n  %s", file, i, line, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		for _, g := range got {
			out = append(out, "  "+g)
		}
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Outcome is a status as text.
func Outcome(err error) string {
	status, ok := client.Status(err)
	switch {
	case !ok:
		return err.Error()
	case status == ntstatus.Success:
		return "ok"
	}
	return status.String()
}

// LeaseState reads RWH.
func LeaseState(text string) (s smb2.LeaseState) {
	for _, c := range text {
		s |= map[rune]smb2.LeaseState{'R': smb2.LeaseReadCaching, 'H': smb2.LeaseHandleCaching, 'W': smb2.LeaseWriteCaching}[c]
	}
	return s
}

// Action is what a CREATE did.
func Action(a smb2.CreateAction) string {
	return map[smb2.CreateAction]string{smb2.ActionOpened: "opened", smb2.ActionCreated: "created", smb2.ActionOverwritten: "overwritten"}[a]
}

// Open is the CREATE of a path before any Flag: an existing file, to read, shared with everybody.
func Open(path string) *smb2.CreateRequest {
	m := client.OpenFile(path)
	m.CreateDisposition, m.DesiredAccess = smb2.DispositionOpen, dtyp.FileGenericRead
	return m
}

// Flag applies a word to a CREATE: the disposition (create, open, openif, overwriteif), the access
// (r, rw, all, attributes, acl, delete), the sharing (alone, share-r, share-rw), and dir,
// unbuffered, backup, delete-on-close. It reports whether it knows the word.
func Flag(m *smb2.CreateRequest, word string) bool {
	switch word {
	case "open", "r":
	case "create":
		m.CreateDisposition = smb2.DispositionCreate
	case "openif":
		m.CreateDisposition = smb2.DispositionOpenIf
	case "overwriteif":
		m.CreateDisposition = smb2.DispositionOverwriteIf
	case "rw":
		m.DesiredAccess = dtyp.FileGenericRead | dtyp.FileGenericWrite
	case "all":
		m.DesiredAccess = dtyp.FileAllAccess
	case "attributes":
		m.DesiredAccess = dtyp.FileReadAttributes
	case "acl":
		m.DesiredAccess = dtyp.ReadControl | dtyp.WriteDAC
	case "delete":
		m.DesiredAccess = dtyp.Delete | dtyp.FileReadAttributes
	case "alone":
		m.ShareAccess = 0
	case "share-r":
		m.ShareAccess = smb2.ShareRead
	case "share-rw":
		m.ShareAccess = smb2.ShareRead | smb2.ShareWrite
	case "dir":
		m.CreateOptions = m.CreateOptions&^smb2.OptionNonDirectoryFile | smb2.OptionDirectoryFile
	case "unbuffered":
		m.CreateOptions |= smb2.OptionNoIntermediateBuffering
	case "backup":
		m.CreateOptions |= smb2.OptionOpenForBackupIntent
	case "delete-on-close":
		m.CreateOptions |= smb2.OptionDeleteOnClose
		m.DesiredAccess |= dtyp.Delete
	default:
		return false
	}
	return true
}
