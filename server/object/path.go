package object

import (
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// streamType is what follows the second colon of a name.
type streamType uint8

const (
	streamUnsaid          streamType = iota
	streamData                       // $DATA
	streamIndexAllocation            // $INDEX_ALLOCATION
)

// parsedPath is a path taken apart ([MS-FSA] 2.1.5.1 phase 5).
type parsedPath struct {
	dirs     []string // every component but the last
	name     string   // the last component; "" for the root itself
	stream   string   // StreamNameToOpen
	kind     streamType
	trailing bool          // the path ended in a backslash
	gmt      dtyp.Filetime // a @GMT- component, which is taken out
}

// isRoot reports whether the path names the tree's root.
func (p *parsedPath) isRoot() bool { return p.name == "" }

// reserved are the characters no file name may hold ([MS-FSCC] 2.1.5.2);
// control characters below 0x20 are checked apart. The colon is the stream separator.
const reserved = "\"*/:<>?|\\"

// parsePath checks and splits a path relative to a share.
func parsePath(path string) (parsedPath, ntstatus.Status) {
	var p parsedPath
	// [MS-SMB2] 3.3.5.9: a name that begins with a separator is invalid.
	if strings.HasPrefix(path, `\`) {
		return p, ntstatus.InvalidParameter
	}
	if strings.HasSuffix(path, `\`) {
		p.trailing = true
		path = strings.TrimSuffix(path, `\`)
	}
	parts, st := p.normalise(path)
	if st != ntstatus.Success {
		return p, st
	}
	for i, part := range parts {
		if st := p.push(part, i == len(parts)-1); st != ntstatus.Success {
			return p, st
		}
	}
	return p, ntstatus.Success
}

// normalise splits a path into components, without redundant backslashes, dot
// names and @GMT- tokens. As Windows does, it takes "." and ".." out, but refuses
// a path that begins "x\..\" ([MS-SMB2] 3.3.5.9, note 303).
func (p *parsedPath) normalise(path string) (parts []string, st ntstatus.Status) {
	for path != "" {
		part, rest, _ := strings.Cut(path, `\`)
		path = rest
		switch part {
		case "", ".":
			continue
		case "..":
			switch {
			case len(parts) == 0:
				return nil, ntstatus.ObjectPathSyntaxBad
			case len(parts) == 1 && rest != "":
				return nil, ntstatus.InvalidParameter
			}
			parts = parts[:len(parts)-1]
			continue
		}
		if t, ok := parseGMT(part); ok {
			p.gmt = t
			continue
		}
		parts = append(parts, part)
	}
	return parts, ntstatus.Success
}

// push adds a component.
func (p *parsedPath) push(part string, last bool) ntstatus.Status {
	name, stream, colon := strings.Cut(part, ":")
	if last {
		if colon {
			if st := p.parseStream(stream); st != ntstatus.Success {
				return st
			}
		}
		if name == "" && !colon {
			return ntstatus.ObjectNameInvalid
		}
		p.name = name
		if name == "" && len(p.dirs) > 0 {
			return ntstatus.ObjectNameInvalid
		}
		return checkName(name)
	}
	// [MS-FSA] 2.1.5.1 phase 6: only the complex suffixes of a directory may
	// follow a prefix component.
	if colon && !strings.EqualFold(stream, "$I30:$INDEX_ALLOCATION") && !strings.EqualFold(stream, ":$INDEX_ALLOCATION") {
		return ntstatus.ObjectNameInvalid
	}
	p.dirs = append(p.dirs, name)
	return checkName(name)
}

// parseStream takes "stream" or "stream:type" apart.
func (p *parsedPath) parseStream(s string) ntstatus.Status {
	name, kind, typed := strings.Cut(s, ":")
	switch {
	case strings.HasSuffix(s, ":"), name == "" && !typed:
		return ntstatus.ObjectNameInvalid
	case !typed:
	case strings.EqualFold(kind, "$DATA"):
		p.kind = streamData
	case strings.EqualFold(kind, "$INDEX_ALLOCATION"):
		p.kind = streamIndexAllocation
		// [MS-FSA] 2.1.5.1 phase 7
		if name != "" && !strings.EqualFold(name, "$I30") {
			return ntstatus.InvalidParameter
		}
		name = ""
	default:
		return ntstatus.ObjectNameInvalid
	}
	p.stream = name
	return checkStreamName(name)
}

// checkName refuses what is no file name ([MS-FSCC] 2.1.5.2). "" stands for the root.
func checkName(name string) ntstatus.Status {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < 0x20 || strings.IndexByte(reserved, c) >= 0 {
			return ntstatus.ObjectNameInvalid
		}
	}
	if len(name) > store.MaxNameLen && dtyp.UTF16Len(name) > store.MaxNameLen {
		return ntstatus.ObjectNameInvalid
	}
	return ntstatus.Success
}

// checkStreamName refuses what is no stream name ([MS-FSCC] 2.1.5.3): control
// characters other than NUL are allowed there.
func checkStreamName(name string) ntstatus.Status {
	if strings.ContainsAny(name, "\x00/:\\") {
		return ntstatus.ObjectNameInvalid
	}
	if len(name) > store.MaxNameLen && dtyp.UTF16Len(name) > store.MaxNameLen {
		return ntstatus.ObjectNameInvalid
	}
	return ntstatus.Success
}

// joinPath appends a component to a path.
func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + `\` + name
}
