package storetest

import (
	"fmt"
	"strings"
)

// Kind is what an Op does.
type Kind uint8

const (
	OpCreate Kind = iota
	OpMkdir
	OpWrite
	OpRead
	OpZero
	OpSetSize
	OpSetAllocation
	OpSetValidData
	OpAllocated
	OpClone
	OpUpdate
	OpRename
	OpLink
	OpUnlink
	OpReadDir
	OpCreateStream
	OpRemoveStream
	OpRenameStream
	OpSnapshot
	OpDeleteSnapshot
	OpRestore
	OpDiff
	OpChanged
	OpListSnapshots
	OpPin
	OpUnpin
	OpKV
	OpOpen
	OpClose
	OpSync
	OpReopen
	OpIdle // lets background work run
	kinds
)

var kindNames = [kinds]string{"create", "mkdir", "write", "read", "zero", "set-size", "set-allocation", "set-valid", "allocated",
	"clone", "update", "rename", "link", "unlink", "readdir", "create-stream", "remove-stream", "rename-stream", "snapshot",
	"delete-snapshot", "restore", "diff", "changed", "list-snapshots", "pin", "unpin", "kv", "open", "close", "sync", "reopen", "idle"}

func (k Kind) String() string { return kindNames[k] }

// Ref names a stream of a file: by path in a view, or by an open slot.
type Ref struct {
	Slot   int    // 1 … slots: what OpOpen put there; 0: by path
	View   string // name of a snapshot, "" is live
	Path   string // "/a/b"; in a snapshot of some files "#i/a/b" goes from its ith scope node
	Stream string
	Pin    int // what a pin holds, instead of all the others
}

func (r Ref) String() string {
	s := r.Path
	if r.Slot > 0 {
		s = fmt.Sprintf("slot %d", r.Slot)
	}
	if r.Pin > 0 {
		s = fmt.Sprintf("pin %d", r.Pin)
	}
	if r.View != "" {
		s += "@" + r.View
	}
	if r.Stream != "" {
		s += ":" + r.Stream
	}
	return s
}

// Op is one operation as a value: it can be printed, kept and performed on any
// volume. What it writes follows from Seed.
type Op struct {
	Kind    Kind
	Ref     Ref
	To      Ref // rename, link: the new name; clone: the target; diff: the other view
	Off, N  int64
	Dst     int64
	Replace bool     // rename: what is there; restore: each file by the next one's data
	Name    string   // of a snapshot, stream or bucket
	Scope   []string // paths a snapshot covers, or that are restored
	Seed    uint64
}

func (o Op) String() string {
	var b strings.Builder
	fmt.Fprint(&b, o.Kind)
	if o.Ref != (Ref{}) {
		fmt.Fprintf(&b, " %v", o.Ref)
	}
	if o.To != (Ref{}) {
		fmt.Fprintf(&b, " to %v", o.To)
	}
	if o.Off != 0 || o.N != 0 {
		fmt.Fprintf(&b, " [%d,+%d)", o.Off, o.N)
	}
	if o.Dst != 0 {
		fmt.Fprintf(&b, " at %d", o.Dst)
	}
	if o.Name != "" {
		fmt.Fprintf(&b, " %q", o.Name)
	}
	if len(o.Scope) > 0 {
		fmt.Fprintf(&b, " of %v", o.Scope)
	}
	if o.Replace {
		fmt.Fprint(&b, " replacing")
	}
	return b.String()
}
