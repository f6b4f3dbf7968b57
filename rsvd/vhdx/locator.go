package vhdx

import (
	"strings"

	"gabion/protocol/dtyp"
)

// ParentRef names the parent of a differencing disk ([MS-VHDX] 2.6.2.6).
type ParentRef struct {
	// Linkage is the parent's DataWriteGuid when the child was made; Linkage2,
	// when set, is another that is right as well, while a merge goes on.
	Linkage, Linkage2 dtyp.GUID
	// Paths to the parent. RelativePath starts from the child's folder.
	RelativePath, VolumePath, AbsolutePath string
}

const (
	keyLinkage  = "parent_linkage"
	keyLinkage2 = "parent_linkage2"
	keyRelative = "relative_path"
	keyVolume   = "volume_path"
	keyAbsolute = "absolute_win32_path"
)

func decodeLocator(b []byte) (*ParentRef, error) {
	if len(b) < 20 || dtyp.GUID(b[:16]) != locatorVHDX {
		return nil, corrupt("parent locator of an unknown type")
	}
	n := int(le.Uint16(b[18:]))
	if 20+12*n > len(b) {
		return nil, corrupt("parent locator is cut short")
	}
	p := &ParentRef{}
	seen := map[string]bool{}
	for e := b[20 : 20+12*n]; len(e) > 0; e = e[12:] {
		key, ok1 := textAt(b, le.Uint32(e), le.Uint16(e[8:]))
		value, ok2 := textAt(b, le.Uint32(e[4:]), le.Uint16(e[10:]))
		if !ok1 || !ok2 || seen[key] {
			return nil, corrupt("parent locator entry %q", key)
		}
		seen[key] = true
		var err error
		switch key {
		case keyLinkage:
			p.Linkage, err = dtyp.ParseGUID(value)
		case keyLinkage2:
			p.Linkage2, err = dtyp.ParseGUID(value)
		case keyRelative:
			p.RelativePath = value
		case keyVolume:
			p.VolumePath = value
		case keyAbsolute:
			p.AbsolutePath = value
		}
		if err != nil {
			return nil, corrupt("parent locator entry %q: %v", key, err)
		}
	}
	if !seen[keyLinkage] {
		return nil, corrupt("parent locator has no %s", keyLinkage)
	}
	return p, nil
}

func textAt(b []byte, off uint32, n uint16) (string, bool) {
	if off == 0 || n == 0 || n%2 != 0 || uint64(off)+uint64(n) > uint64(len(b)) {
		return "", false
	}
	return dtyp.DecodeUTF16(b[off : off+uint32(n)]), true
}

func (p *ParentRef) encode() []byte {
	type pair struct{ key, value string }
	list := []pair{{keyLinkage, "{" + p.Linkage.String() + "}"}}
	if !p.Linkage2.IsZero() {
		list = append(list, pair{keyLinkage2, "{" + p.Linkage2.String() + "}"})
	}
	for _, e := range []pair{{keyRelative, p.RelativePath}, {keyVolume, p.VolumePath}, {keyAbsolute, p.AbsolutePath}} {
		if e.value != "" {
			list = append(list, e)
		}
	}
	b := make([]byte, 20+12*len(list))
	copy(b, locatorVHDX[:])
	le.PutUint16(b[18:], uint16(len(list)))
	for i, e := range list {
		at := 20 + 12*i
		put := func(off, length int, s string) {
			text := dtyp.EncodeUTF16(s)
			le.PutUint32(b[at+off:], uint32(len(b)))
			le.PutUint16(b[at+length:], uint16(len(text)))
			b = append(b, text...)
		}
		put(0, 8, e.key)
		put(4, 10, e.value)
	}
	return b
}

// Candidates are the paths at which a server may look for the parent: the relative
// one as it is, and of the others the last component only, because a file that a
// client wrote must not make the server open whatever it names.
func (p *ParentRef) Candidates() []string {
	var list []string
	if p.RelativePath != "" {
		list = append(list, p.RelativePath)
	}
	for _, path := range []string{p.VolumePath, p.AbsolutePath} {
		if name := path[strings.LastIndexAny(path, `\/`)+1:]; name != "" {
			list = append(list, name)
		}
	}
	return list
}
