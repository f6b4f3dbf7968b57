package storetest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"gabion/store"
)

// Generator makes up operations. It looks at a model of the volume to choose
// mostly such as succeed.
type Generator struct {
	rng   *rand.Rand
	model store.Volume
	// Home is the directory that all live paths lie in: "" or "/w0".
	home string
	// weights by kind.
	weights [kinds]int
	total   int
	serial  int
}

var defaultWeights = [kinds]int{
	OpCreate: 30, OpMkdir: 8, OpWrite: 160, OpRead: 60, OpZero: 30, OpSetSize: 24, OpSetAllocation: 6, OpSetValidData: 6, OpAllocated: 10,
	OpClone: 40, OpUpdate: 24, OpRename: 24, OpLink: 10, OpUnlink: 24, OpReadDir: 8, OpCreateStream: 14, OpRemoveStream: 6, OpRenameStream: 8,
	OpSnapshot: 14, OpDeleteSnapshot: 10, OpRestore: 10, OpDiff: 10, OpChanged: 5, OpListSnapshots: 4, OpKV: 14, OpOpen: 12, OpClose: 8, OpSync: 6,
	OpReopen: 1, OpIdle: 10, OpPin: 14, OpUnpin: 10,
}

// NewGenerator draws from rng. Kinds listed in without are not made.
func NewGenerator(rng *rand.Rand, model store.Volume, home string, without ...Kind) *Generator {
	g := &Generator{rng: rng, model: model, home: home, weights: defaultWeights}
	for _, k := range without {
		g.weights[k] = 0
	}
	for _, w := range g.weights {
		g.total += w
	}
	return g
}

// file is what the model has at a path.
type found struct {
	path    string
	dir     bool
	size    int64
	streams []store.StreamInfo
}

// walk collects what is below a node.
func (g *Generator) walk(n store.Node, path string, to []found) []found {
	a, err := n.Attr()
	if err != nil {
		return to
	}
	ss, _ := n.Streams()
	to = append(to, found{path, a.Dir, a.Size, ss})
	if !a.Dir {
		return to
	}
	es, _ := g.model.ReadDir(n, "", 1000, nil)
	for _, e := range es {
		c, _, err := g.model.Open(n, e.Name)
		if err != nil {
			continue
		}
		to = g.walk(c, path+"/"+e.Name, to)
		c.Close()
	}
	return to
}

// live lists the home directory.
func (g *Generator) live() []found {
	n, err := g.model.Root(store.Live)
	if err != nil {
		return nil
	}
	defer n.Close()
	if g.home == "" {
		return g.walk(n, "", nil)
	}
	h, _, err := g.model.Open(n, g.home[1:])
	if err != nil {
		return nil
	}
	defer h.Close()
	return g.walk(h, g.home, nil)
}

// views lists the snapshots.
func (g *Generator) views() []store.Snapshot {
	ss, _ := g.model.Snapshots().List(store.RootID)
	return ss
}

func pick[T any](rng *rand.Rand, s []T) (x T) {
	if len(s) > 0 {
		x = s[rng.IntN(len(s))]
	}
	return x
}

var someNames = []string{"a", "B", "c", "disk.vhdx", "Ärger", "x y", "LONG" + strings.Repeat("-name", 20), "D", "e"}

func (g *Generator) name() string {
	n := pick(g.rng, someNames)
	if g.rng.IntN(4) == 0 {
		n = strings.ToLower(n)
	}
	return n
}

// dirs and files split what live found; with few objects left every choice
// stays possible.
func split(all []found) (dirs, files []found) {
	for _, f := range all {
		if f.dir {
			dirs = append(dirs, f)
		} else {
			files = append(files, f)
		}
	}
	return dirs, files
}

// fresh is a path for something new, or now and then a taken one.
func (g *Generator) fresh(dirs []found) string {
	return pick(g.rng, dirs).path + "/" + g.name()
}

// target chooses a stream of a live file or an open slot.
func (g *Generator) target(files []found) (Ref, int64) {
	if g.rng.IntN(6) == 0 {
		return Ref{Slot: 1 + g.rng.IntN(slots)}, 256 << 10
	}
	f := pick(g.rng, files)
	r := Ref{Path: f.path}
	if f.path == "" {
		r.Path = g.home + "/" + g.name()
	}
	if len(f.streams) > 0 && g.rng.IntN(3) == 0 {
		s := pick(g.rng, f.streams)
		r.Stream = s.Name
		return r, s.Size
	}
	return r, f.size
}

// offset likes the edges of blocks, chunks, and the file.
func (g *Generator) offset(size int64) int64 {
	edges := []int64{0, 4096, 8192, 65536, 256 << 10, 512 << 10, size, size / 2, size &^ 4095}
	at := pick(g.rng, edges)
	switch g.rng.IntN(12) {
	case 0:
		at = 1<<32 + at
	case 1:
		at = g.rng.Int64N(size + 1)
	case 2:
		if g.rng.IntN(8) == 0 {
			at = store.MaxSize - g.rng.Int64N(10000)
		}
	}
	if g.rng.IntN(2) == 0 {
		at += pick(g.rng, []int64{-4096, -513, -1, 1, 511, 512, 4096, 5000})
	}
	return min(max(at, 0), store.MaxSize)
}

func (g *Generator) length() int64 {
	n := pick(g.rng, []int64{1, 100, 511, 512, 4095, 4096, 4097, 8192, 12288, 40960, 65536, 70000, 262144, 300000})
	if n > 65536 && g.rng.IntN(3) > 0 {
		n = 1 + g.rng.Int64N(9000)
	}
	return n
}

// Next makes up an operation.
func (g *Generator) Next() Op {
	n := g.rng.IntN(g.total)
	kind := Kind(0)
	for n >= g.weights[kind] {
		n -= g.weights[kind]
		kind++
	}
	op := Op{Kind: kind, Seed: g.rng.Uint64()}
	all := g.live()
	dirs, files := split(all)
	if g.home != "" && len(all) == 1 && (kind == OpRename || kind == OpUnlink) {
		op.Kind = OpMkdir
	}
	if kind == OpCreate && len(files) > 12 || kind == OpMkdir && len(dirs) > 8 {
		op.Kind = OpUnlink
	}
	if len(files) < 2 && kind >= OpWrite && kind <= OpClone {
		op.Kind = OpCreate
	}
	switch op.Kind {
	case OpCreate, OpMkdir:
		op.Ref.Path = g.fresh(dirs)
	case OpWrite, OpRead, OpZero, OpAllocated, OpSetSize, OpSetAllocation, OpSetValidData:
		g.dataOp(&op, files)
	case OpClone:
		g.cloneOp(&op, files)
	case OpPin:
		op.Ref, op.N = g.target(files)
		if g.rng.IntN(4) == 0 {
			op.Ref, op.N = g.snapshotRef(op.Ref), 1
		}
		op.To.Pin = g.pin()
	case OpUnpin:
		op.To.Pin = g.pin()
	case OpKV:
		op.N = 1 + g.rng.Int64N(4)
	case OpSnapshot, OpDeleteSnapshot, OpRestore, OpDiff, OpChanged, OpListSnapshots:
		g.snapshotOp(&op, all, files)
	default:
		g.nameOp(&op, all, dirs, files)
	}
	return op
}

func (g *Generator) dataOp(op *Op, files []found) {
	var size int64
	op.Ref, size = g.target(files)
	op.Off, op.N = g.offset(size), g.length()
	switch op.Kind {
	case OpRead:
		if vs := g.views(); len(vs) > 0 && g.rng.IntN(3) == 0 {
			op.Ref = g.inView(pick(g.rng, vs))
		}
	case OpAllocated, OpZero:
		if g.rng.IntN(4) == 0 {
			op.N = size + 1 - g.rng.Int64N(size+1)
		}
		if g.rng.IntN(16) == 0 {
			op.Off, op.N = 0, store.MaxSize
		}
	case OpSetSize, OpSetAllocation, OpSetValidData:
		op.Off, op.N = 0, g.offset(size)
		if op.Kind == OpSetValidData && g.rng.IntN(4) > 0 {
			op.N = size
		}
	}
}

// inView names a random node of a snapshot.
func (g *Generator) inView(s store.Snapshot) Ref {
	i := g.rng.IntN(len(s.Scope))
	n, err := g.model.OpenID(s.View, s.Scope[i])
	if err != nil {
		return Ref{View: s.Name}
	}
	defer n.Close()
	prefix := fmt.Sprintf("#%d", i)
	_, files := split(g.walk(n, prefix, nil))
	f := pick(g.rng, files)
	r := Ref{View: s.Name, Path: f.path}
	if len(f.streams) > 0 && g.rng.IntN(3) == 0 {
		r.Stream = pick(g.rng, f.streams).Name
	}
	return r
}

// snapshotRef names something in a snapshot, r when there is none.
func (g *Generator) snapshotRef(r Ref) Ref {
	if vs := g.views(); len(vs) > 0 {
		return g.inView(pick(g.rng, vs))
	}
	return r
}

// pin chooses one of a few pins of the home directory.
func (g *Generator) pin() int {
	n := 1 + g.rng.IntN(5)
	if g.home != "" {
		n += 10 * (1 + int(g.home[len(g.home)-1]-'0'))
	}
	return n
}

// pinned is a pin and how much it holds, 0 when it is not there.
func (g *Generator) pinned() (Ref, int64) {
	n := g.pin()
	p, s, err := g.model.Pins().Use(pinID(n))
	if err != nil {
		return Ref{Pin: n}, 0
	}
	s.Close()
	return Ref{Pin: n}, p.Range.Len
}

func (g *Generator) cloneOp(op *Op, files []found) {
	src := pick(g.rng, files)
	op.Ref.Path = src.path
	size := src.size
	if vs := g.views(); len(vs) > 0 && g.rng.IntN(3) == 0 {
		op.Ref = g.inView(pick(g.rng, vs))
		size = 64 << 10
	}
	if g.rng.IntN(4) == 0 {
		op.Ref, size = g.pinned()
	}
	var have int64
	op.To, have = g.target(files)
	switch g.rng.IntN(4) {
	case 0: // all of it
		op.N = size
	case 1:
		op.Dst = g.offset(have) &^ 4095
		op.N = size &^ 4095
	default:
		op.Off = g.offset(size/2) &^ 4095
		op.N = min(g.length(), max(size-op.Off, 4096)) &^ 4095
		op.Dst = g.offset(have) &^ 4095
	}
	if g.rng.IntN(20) == 0 {
		op.Off++ // refused
	}
}

func (g *Generator) snapshotOp(op *Op, all, files []found) {
	vs := g.views()
	s := pick(g.rng, vs)
	op.Name = s.Name
	f := pick(g.rng, files)
	if len(vs) > 6 && op.Kind == OpSnapshot {
		op.Kind = OpDeleteSnapshot
	}
	switch op.Kind {
	case OpSnapshot:
		g.serial++
		op.Name = fmt.Sprintf("s%d", g.serial)
		op.Scope = []string{g.home + "/"}
		if g.rng.IntN(3) == 0 {
			op.Scope = nil
			for range 1 + g.rng.IntN(3) {
				op.Scope = append(op.Scope, pick(g.rng, all).path+"/")
			}
		}
		if g.rng.IntN(20) == 0 {
			op.Name = s.Name // taken
		}
	case OpRestore:
		op.Scope = []string{f.path}
		if op.Replace = g.rng.IntN(2) == 0; op.Replace {
			all = files
		}
		for g.rng.IntN(3) == 0 {
			op.Scope = append(op.Scope, pick(g.rng, all).path)
		}
	case OpChanged:
		op.Ref.View = s.Name
		if g.rng.IntN(2) == 0 {
			op.To.View = pick(g.rng, vs).Name
		}
		op.Name = ""
	case OpDiff:
		op.Ref = Ref{Path: f.path, View: s.Name}
		if g.rng.IntN(2) == 0 {
			op.To.View = pick(g.rng, vs).Name
		}
		if len(f.streams) > 0 && g.rng.IntN(3) == 0 {
			op.Ref.Stream = pick(g.rng, f.streams).Name
		}
		op.Name = ""
	case OpListSnapshots:
		op.Ref.Path = pick(g.rng, all).path
	}
}

func (g *Generator) nameOp(op *Op, all, dirs, files []found) {
	any := pick(g.rng, all)
	if g.home != "" && len(all) > 1 && (op.Kind == OpRename || op.Kind == OpUnlink) {
		any = pick(g.rng, all[1:]) // the home stays
	}
	op.Ref.Path = any.path
	switch op.Kind {
	case OpRename:
		op.To.Path = g.fresh(dirs)
		op.Replace = g.rng.IntN(2) == 0
		if g.rng.IntN(6) == 0 {
			op.To.Path = any.path[:strings.LastIndexByte(any.path, '/')+1] + strings.ToUpper(any.path[strings.LastIndexByte(any.path, '/')+1:])
		}
	case OpLink:
		op.Ref.Path = pick(g.rng, files).path
		op.To.Path = g.fresh(dirs)
		op.Replace = g.rng.IntN(2) == 0
		if g.rng.IntN(6) == 0 {
			op.Ref = Ref{Slot: 1 + g.rng.IntN(slots)}
		}
	case OpUpdate:
		if g.rng.IntN(8) == 0 {
			op.Ref = Ref{Slot: 1 + g.rng.IntN(slots)}
		}
	case OpUnlink:
		if g.rng.IntN(2) == 0 && len(files) > 0 {
			op.Ref.Path = pick(g.rng, files).path
		}
	case OpReadDir:
		op.Ref.Path = pick(g.rng, dirs).path
		op.N = 1 + g.rng.Int64N(6)
		if g.rng.IntN(2) == 0 {
			op.Name = g.name()
		}
	case OpCreateStream, OpRemoveStream, OpRenameStream:
		op.Name = pick(g.rng, any.streams).Name
		if op.Name == "" || op.Kind == OpCreateStream {
			op.Name = []string{"One", "two", "Drei"}[g.rng.IntN(3)]
		}
		if op.Kind == OpRenameStream {
			op.To.Stream = []string{"uno", "zwei", "three", ""}[g.rng.IntN(4)]
			op.Replace = g.rng.IntN(2) == 0
			if g.rng.IntN(4) == 0 {
				op.Name = ""
			}
		}
	case OpOpen:
		op.To, _ = g.target(files)
		if op.To.Slot > 0 {
			op.To = Ref{Path: pick(g.rng, files).path}
		}
		op.Ref = Ref{Slot: 1 + g.rng.IntN(slots)}
	case OpClose:
		op.Ref = Ref{Slot: 1 + g.rng.IntN(slots)}
	case OpSync, OpReopen, OpIdle:
		op.Ref = Ref{}
	}
}
