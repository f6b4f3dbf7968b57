package fscc

import (
	"strings"
	"testing"
)

// ascii folds as an upcase table does, for the letters these tests use.
type ascii struct{}

func (ascii) Unit(u uint16) uint16 {
	if 'a' <= u && u <= 'z' {
		return u - 32
	}
	return u
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		expr, name string
		want       bool
	}{
		{"*", "anything", true}, {"*.*", "nodot", true}, {"*", "..", true},
		{"*.txt", "a.TXT", true}, {"*.txt", "a.txt.bak", false}, {"*.txt", ".txt", true},
		{"abc", "ABC", true}, {"abc", "abcd", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"a?", "a", false},
		{"a*b*c", "a--b--c", true}, {"a*b*c", "a--c--b", false},
		{"***a", "bca", true}, {"a**", "a", true},
		// What clients send for *.  ?.*  and the like.
		{"<", "nodot", true}, {"<", "a.txt", false}, {"<.txt", "a.b.txt", true},
		{`<"*`, "a.txt", true}, {`<"*`, "nodot", true},
		{"<.b", "a.b.c", false}, {"a<", "a.b.c", false}, {"a<.c", "a.b.c", true},
		{">>>", "ab", true}, {">>>", "abc", true}, {">>>", "abcd", false}, {">>>.txt", "a.txt", true},
		{`a">>`, "a", true}, {`a">>`, "a.x", true}, {`a">>`, "a.xyz", false},
		{`file"`, "file", true}, {`file"`, "file.", true}, {`file"`, "filex", false},
		{"?", "\U0001F600", false}, {"??", "\U0001F600", true},
		{"", "a", false},
	} {
		p, err := NewPattern(c.expr, ascii{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.expr, c.name, got)
		}
	}
	p, _ := NewPattern("abc*", nil)
	if p.Match("ABCD") || !p.Match("abcd") {
		t.Error("a case-sensitive pattern folds")
	}
	if _, err := NewPattern(strings.Repeat("*a", MaxPattern), nil); err == nil {
		t.Error("an endless pattern is accepted")
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	p, _ := NewPattern("di?k<.vhdx", ascii{})
	if n := testing.AllocsPerRun(100, func() { p.Match("disk-0.vhdx") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMatch compares with a matcher that tries everything.
func FuzzMatch(f *testing.F) {
	f.Add("a*b<.c", "a.b.c")
	f.Add(`>>>"?`, "ab.c")
	f.Fuzz(func(t *testing.T, expr, name string) {
		if len(expr) > 12 || len(name) > 12 || name == "" || expr == "*.*" || HasWildcards(name) {
			return
		}
		for _, s := range expr + name {
			if s > 126 {
				return
			}
		}
		p, _ := NewPattern(expr, nil)
		if got, want := p.Match(name), slowMatch(expr, name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", expr, name, got, want)
		}
	})
}

func slowMatch(e, n string) bool {
	if e == "" {
		return n == ""
	}
	rest := e[1:]
	switch e[0] {
	case '*':
		return slowMatch(rest, n) || n != "" && slowMatch(e, n[1:])
	case '<':
		final := n != "" && n[0] == '.' && !strings.Contains(n[1:], ".")
		return slowMatch(rest, n) || n != "" && !final && slowMatch(e, n[1:])
	case '?':
		return n != "" && slowMatch(rest, n[1:])
	case '>':
		if n == "" || n[0] == '.' {
			return slowMatch(rest, n)
		}
		return slowMatch(rest, n[1:])
	case '"':
		return n == "" && slowMatch(rest, n) || n != "" && n[0] == '.' && slowMatch(rest, n[1:])
	}
	return n != "" && n[0] == e[0] && slowMatch(rest, n[1:])
}

func TestComponents(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Component
		ok   bool
	}{
		{"f", Component{File: "f"}, true},
		{"f:s", Component{File: "f", Stream: "s"}, true},
		{"f:s:$data", Component{"f", "s", StreamTypeData}, true},
		{"f::$DATA", Component{"f", "", StreamTypeData}, true},
		{"d:$I30:$INDEX_ALLOCATION", Component{"d", "", StreamTypeIndex}, true},
		{"d::$INDEX_ALLOCATION", Component{"d", "", StreamTypeIndex}, true},
		{":s", Component{Stream: "s"}, true},
		{"f:", Component{}, false}, {"f::", Component{}, false}, {"f:s:", Component{}, false},
		{"f:s:$FOO", Component{}, false}, {"f:a:b:c", Component{}, false}, {"f:a/b", Component{}, false},
		{"f*", Component{}, false}, {"..", Component{}, false}, {"", Component{}, false},
		{"f:x:$INDEX_ALLOCATION", Component{}, false},
		{"f:a*?<>\"|", Component{File: "f", Stream: "a*?<>\"|"}, true},
		{strings.Repeat("x", 256), Component{}, false},
		{strings.Repeat("\u20ac", 255), Component{File: strings.Repeat("\u20ac", 255)}, true},
	} {
		got, err := SplitComponent(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
	}
	if ValidShareName("a/b") || !ValidShareName("C$") || ValidShareName(strings.Repeat("a", 81)) {
		t.Error("share names")
	}
}
