package gabion_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	clauseRow   = regexp.MustCompile(`(?m)^\| (C\d{4}) \|.*\| ([^|]+) \|$`)
	clauseTests = regexp.MustCompile("`(smb2\\.[^`]+)`|`([a-z/]+)` |\\b(Test\\w+)|\\b(\\d\\d-[a-z-]+)")
)

// Every clause of MS-HVRS in the README names tests, and there are tests of these names.
func TestClausesOfHyperVHaveTheirTests(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := clauseRow.FindAllStringSubmatch(string(readme), -1)
	if len(rows) != 12 {
		t.Fatalf("%d clauses", len(rows))
	}
	for _, row := range rows {
		room, named := "", 0
		for _, m := range clauseTests.FindAllStringSubmatch(row[2], -1) {
			torture, dir, test, transcript := m[1], m[2], m[3], m[4]
			there := true
			switch {
			case dir != "":
				room = dir
				continue
			case torture != "":
				there = passesTorture(t, torture)
			case test != "":
				there = hasTest(t, room, test)
			case transcript != "":
				_, err := os.Stat(filepath.Join(room, "testdata", transcript+".txt"))
				there = err == nil
			}
			if named++; !there {
				t.Errorf("%s: no %s in %q", row[1], m[0], room)
			}
		}
		if named == 0 {
			t.Errorf("%s names no test", row[1])
		}
	}
}

// hasTest reports whether a package has a test of that name.
func hasTest(t *testing.T, dir, name string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

// passesTorture reports whether smbtorture's table has tests of that pattern that pass.
func passesTorture(t *testing.T, pattern string) bool {
	table, err := os.ReadFile("conformance/torture/table.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(table), "\n") {
		f := strings.Split(line, "\t")
		if len(f) < 4 {
			continue
		}
		if is, _ := path.Match(pattern, f[0]); is && f[3] == "pass" {
			return true
		}
	}
	return false
}
