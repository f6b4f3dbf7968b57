package fscc

// zfixed.go is written from fixed.txt; with -generate this test rewrites it,
// without it fails if the two do not match.

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"strconv"
	"strings"
	"testing"
)

var generate = flag.Bool("generate", false, "rewrite zfixed.go from fixed.txt")

type kind struct {
	size      int
	goType    string
	get       string // with %[1]s the field, %[2]d the offset
	appending string
}

var kinds = map[string]kind{
	"u8":     {1, "uint8", "x.%[1]s = b[%[2]d]", "dst = append(dst, x.%[1]s)"},
	"bool":   {1, "bool", "x.%[1]s = b[%[2]d] != 0", "dst = appendBool(dst, x.%[1]s)"},
	"u16":    {2, "uint16", "x.%[1]s = le.Uint16(b[%[2]d:])", "dst = le.AppendUint16(dst, x.%[1]s)"},
	"u32":    {4, "uint32", "x.%[1]s = le.Uint32(b[%[2]d:])", "dst = le.AppendUint32(dst, x.%[1]s)"},
	"access": {4, "dtyp.AccessMask", "x.%[1]s = dtyp.AccessMask(le.Uint32(b[%[2]d:]))", "dst = le.AppendUint32(dst, uint32(x.%[1]s))"},
	"u64":    {8, "uint64", "x.%[1]s = le.Uint64(b[%[2]d:])", "dst = le.AppendUint64(dst, x.%[1]s)"},
	"i64":    {8, "int64", "x.%[1]s = int64(le.Uint64(b[%[2]d:]))", "dst = le.AppendUint64(dst, uint64(x.%[1]s))"},
	"time":   {8, "dtyp.Filetime", "x.%[1]s = dtyp.Filetime(le.Uint64(b[%[2]d:]))", "dst = le.AppendUint64(dst, uint64(x.%[1]s))"},
	"guid":   {16, "dtyp.GUID", "copy(x.%[1]s[:], b[%[2]d:])", "dst = append(dst, x.%[1]s[:]...)"},
}

func kindOf(name string) kind {
	if k, ok := kinds[name]; ok {
		return k
	}
	digits := strings.TrimLeft(name, "padb")
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic("type " + name)
	}
	if strings.HasPrefix(name, "pad") {
		return kind{size: n, appending: "dst = append(dst" + strings.Repeat(", 0", n) + ")"}
	}
	return kind{n, fmt.Sprintf("[%d]byte", n), "copy(x.%[1]s[:], b[%[2]d:])", "dst = append(dst, x.%[1]s[:]...)"}
}

func TestGenerated(t *testing.T) {
	in, err := os.ReadFile("fixed.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.WriteString("// Code generated from fixed.txt by go test -generate. DO NOT EDIT.\n\npackage fscc\n\nimport \"gabion/protocol/dtyp\"\n")
	for i, para := range strings.Split(strings.TrimSpace(string(in)), "\n\n") {
		if i == 0 {
			continue // the comment
		}
		lines := strings.Split(para, "\n")
		head := strings.Fields(lines[0])
		structure(&out, head[0], head[1], head[2], lines[1:])
	}
	src, err := format.Source(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if *generate {
		if err := os.WriteFile("zfixed.go", src, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("zfixed.go")
	if err != nil || !bytes.Equal(have, src) {
		t.Fatalf("zfixed.go does not match fixed.txt; run go test -run TestGenerated -generate (%v)", err)
	}
}

func structure(out *bytes.Buffer, name, section, msName string, fields []string) {
	var def, get, app strings.Builder
	at := 0
	for _, f := range fields {
		p := strings.Fields(f)
		k := kindOf(p[1])
		if p[0] != "-" {
			fmt.Fprintf(&def, "%s %s\n", p[0], k.goType)
			fmt.Fprintf(&get, k.get+"\n", p[0], at)
			fmt.Fprintf(&app, k.appending+"\n", p[0])
		} else {
			app.WriteString(k.appending + "\n")
		}
		at += k.size
	}
	where := "[MS-FSCC] " + section
	if strings.HasSuffix(section, ".h") {
		where = section + ", not in [MS-FSCC]"
	}
	fmt.Fprintf(out, "\n// %s is %s (%s).\ntype %s struct {\n%s}\n", name, msName, where, name, def.String())
	fmt.Fprintf(out, "\n// %sSize is its length in bytes.\nconst %sSize = %d\n", name, name, at)
	fmt.Fprintf(out, "\n// Append appends the wire form.\nfunc (x *%s) Append(dst []byte) []byte {\n%sreturn dst\n}\n", name, app.String())
	fmt.Fprintf(out, "\n// Decode reads the wire form; bytes behind it are ignored.\nfunc (x *%s) Decode(b []byte) error {\nif len(b) < %sSize {\nreturn malformed(%q)\n}\n%sreturn nil\n}\n", name, name, msName, get.String())
}
