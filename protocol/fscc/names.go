package fscc

import (
	"errors"
	"strings"

	"gabion/protocol/dtyp"
)

// ErrName is a name that cannot be: STATUS_OBJECT_NAME_INVALID.
var ErrName = errors.New("fscc: invalid name")

const (
	// MaxFileName is the longest component in UTF-16 code units.
	MaxFileName = 255
	// MaxPathName is the longest path in UTF-16 code units ([MS-FSCC] 2.1.5).
	MaxPathName = 32760
	// MaxShareName is the longest share name ([MS-FSCC] 2.1.6).
	MaxShareName = 80

	// StreamTypeData and StreamTypeIndex are the stream types a client may name
	// ([MS-FSCC] 5.5).
	StreamTypeData  = "$DATA"
	StreamTypeIndex = "$INDEX_ALLOCATION"
	// StreamNameIndex is the name of a directory's default stream.
	StreamNameIndex = "$I30"
)

// ValidFileName reports whether s may be a file's name ([MS-FSCC] 2.1.5.2).
// Dot directory names are not.
func ValidFileName(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < 0x20, c == '"', c == '\\', c == '/', c == ':', c == '|', c == '<', c == '>', c == '*', c == '?':
			return false
		}
	}
	return len(s) <= MaxFileName || dtyp.UTF16Len(s) <= MaxFileName
}

// ValidStreamName reports whether s may be a stream's name ([MS-FSCC] 2.1.5.3).
func ValidStreamName(s string) bool {
	return !strings.ContainsAny(s, "\\/:\x00") && (len(s) <= MaxFileName || dtyp.UTF16Len(s) <= MaxFileName)
}

// ValidShareName reports whether s may be a share's name ([MS-FSCC] 2.1.6).
func ValidShareName(s string) bool {
	if s == "" || dtyp.UTF16Len(s) > MaxShareName {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || strings.IndexByte("\"\\/[]:|<>+=;,*?", s[i]) >= 0 {
			return false
		}
	}
	return true
}

// Component is the last component of a path taken apart ([MS-FSCC] 2.1.5):
// "file:stream:type".
type Component struct {
	File   string
	Stream string // "" is the default stream
	// Type is StreamTypeData or StreamTypeIndex if the client named one, else "".
	Type string
}

// SplitComponent takes a component apart and checks its parts. File is "" for a
// stream of the share's root.
func SplitComponent(s string) (c Component, err error) {
	file, rest, streams := strings.Cut(s, ":")
	c.File = file
	if file != "" && !ValidFileName(file) {
		return Component{}, ErrName
	}
	if !streams {
		if file == "" {
			return Component{}, ErrName
		}
		return c, nil
	}
	name, kind, typed := strings.Cut(rest, ":")
	if !ValidStreamName(name) || (name == "" && !typed) {
		return Component{}, ErrName
	}
	c.Stream = name
	if typed {
		switch {
		case strings.EqualFold(kind, StreamTypeData):
			c.Type = StreamTypeData
		case strings.EqualFold(kind, StreamTypeIndex):
			c.Type = StreamTypeIndex
		default:
			return Component{}, ErrName
		}
	}
	if c.Type == StreamTypeIndex {
		// A directory has one index stream; "$I30" is its name.
		if name != "" && !strings.EqualFold(name, StreamNameIndex) {
			return Component{}, ErrName
		}
		c.Stream = ""
	}
	return c, nil
}
