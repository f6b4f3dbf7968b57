package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/store"
)

const slots = 6

// Executor performs Ops on one volume.
type Executor struct {
	v     store.Volume
	idle  func(store.Volume)
	nodes [slots + 1]store.Node
	data  [slots + 1]store.Stream
	lent  []lent // the last reads, oldest first
}

// lent is what a volume lent, and a sum of it.
type lent struct {
	parts *store.Parts
	sum   uint64
}

// NewExecutor makes an executor; idle, which may be nil, lets the volume's
// background work run.
func NewExecutor(v store.Volume, idle func(store.Volume)) *Executor {
	return &Executor{v: v, idle: idle}
}

// Volume is the one it works on.
func (x *Executor) Volume() store.Volume { return x.v }

// Release closes what is open in the slots.
func (x *Executor) Release() {
	for len(x.lent) > 0 {
		x.giveBack() //nolint:errcheck // the volume may have failed
	}
	for i := range x.nodes {
		x.release(i)
	}
}

func (x *Executor) release(i int) {
	if x.nodes[i] != nil {
		x.data[i].Close()
		x.nodes[i].Close()
		x.nodes[i], x.data[i] = nil, nil
	}
}

// maxLent is how many reads stay lent while other operations go on.
const maxLent = 2

// borrow reads as op did, if the volume lends memory, which must give the same; and looks whether what it lent
// for earlier reads is as it was.
func (x *Executor) borrow(s store.Stream, op Op, want []byte, wantErr error) error {
	l, ok := s.(store.Lender)
	if !ok {
		return nil
	}
	p := make([]byte, op.N)
	parts := new(store.Parts)
	n, err := l.ReadParts(p, op.Off, parts)
	for _, e := range []error{err, wantErr} {
		if failed(e) { // a disk may fail for one of the two
			parts.Release()
			return e
		}
	}
	var got []byte
	for _, t := range parts.List {
		got = append(got, t.Data...)
	}
	if n != len(want) || classify(err) != classify(wantErr) || !bytes.Equal(got, want) {
		return fmt.Errorf("lent %d bytes %x, %v; read %d bytes %x, %v", n, sum(got), err, len(want), sum(want), wantErr)
	}
	x.lent = append(x.lent, lent{parts, sum(got)})
	if len(x.lent) > maxLent {
		return x.giveBack()
	}
	return nil
}

// giveBack releases what was lent first.
func (x *Executor) giveBack() error {
	l := x.lent[0]
	x.lent = x.lent[1:]
	var got []byte
	for _, t := range l.parts.List {
		got = append(got, t.Data...)
	}
	l.parts.Release()
	if sum(got) != l.sum {
		return errors.New("what was lent changed")
	}
	return nil
}

// errors that volumes must agree on.
var sentinels = []error{store.ErrNotFound, store.ErrExist, store.ErrNotDir, store.ErrIsDir, store.ErrNotEmpty, store.ErrNoSpace,
	store.ErrReadOnly, store.ErrName, store.ErrInvalid, store.ErrTooLarge, store.ErrStopped, store.ErrBusy}

func classify(err error) string {
	if err == nil {
		return "ok"
	}
	if err == io.EOF {
		return "EOF"
	}
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	return otherError + err.Error()
}

const otherError = "other error: "

// failed reports an error that is the engine's or its disk's, not the operation's.
func failed(err error) bool {
	return errors.Is(err, store.ErrStopped) || strings.HasPrefix(classify(err), otherError)
}

// errSlot is the result of an operation on an empty slot.
var errSlot = errors.New("empty slot")

// Do performs op. The result is the same text on every volume that keeps the
// contract; pos is zero when nothing was changed.
func (x *Executor) Do(op Op) (result string, pos store.Pos, err error) {
	out, pos, err := x.do(op)
	if errors.Is(err, errSlot) {
		return "empty slot", 0, nil
	}
	if err != nil {
		pos = 0
	}
	return strings.TrimSpace(classify(err) + " " + out), pos, err
}

func (x *Executor) do(op Op) (out string, pos store.Pos, err error) {
	switch op.Kind {
	case OpCreate, OpMkdir:
		return "", pos, x.inDir(op.Ref, func(d store.Node, name string) error {
			init := initOf(op.Seed)
			init.Dir = op.Kind == OpMkdir
			n, p, err := x.v.Create(d, name, init)
			if pos = p; err == nil {
				n.Close()
			}
			return err
		})
	case OpWrite, OpZero, OpSetSize, OpSetAllocation, OpSetValidData:
		return "", pos, x.stream(op.Ref, func(s store.Stream) error {
			pos, err = changeData(s, op)
			return err
		})
	case OpRead:
		return out, 0, x.stream(op.Ref, func(s store.Stream) error {
			p := make([]byte, op.N)
			n, err := s.ReadAt(p, op.Off)
			z := s.Sizes()
			out = fmt.Sprintf("%d bytes %x size %d valid %d", n, sum(p[:n]), z.Size, z.ValidData)
			if lent := x.borrow(s, op, p[:n], err); lent != nil {
				return lent
			}
			return err
		})
	case OpAllocated:
		return out, 0, x.stream(op.Ref, func(s store.Stream) error {
			rs, err := s.Allocated(op.Off, op.N, nil)
			if err == nil {
				err = checkAllocated(s, op.Off, op.N, rs)
			}
			return err
		})
	case OpClone:
		return "", pos, x.stream(op.Ref, func(from store.Stream) error {
			return x.stream(op.To, func(to store.Stream) error {
				pos, err = to.CloneFrom(op.Dst, from, op.Off, op.N, touchOf(op.Seed))
				return err
			})
		})
	case OpReadDir:
		return out, 0, x.node(op.Ref, func(n store.Node) error {
			es, err := x.v.ReadDir(n, op.Name, int(op.N), nil)
			for _, e := range es {
				out += fmt.Sprintf("\n%q %s", e.Name, attrText(e.Attr))
			}
			return err
		})
	case OpOpen, OpClose:
		return x.slot(op)
	case OpSync:
		return "", 0, x.v.Sync()
	case OpIdle:
		if x.idle != nil {
			x.idle(x.v)
		}
		return "", 0, nil
	case OpKV:
		return x.kv(op)
	case OpPin, OpUnpin:
		return x.pin(op)
	case OpSnapshot, OpDeleteSnapshot, OpRestore, OpDiff, OpChanged, OpListSnapshots:
		return x.snapshot(op)
	}
	pos, err = x.names(op)
	return "", pos, err
}

func changeData(s store.Stream, op Op) (store.Pos, error) {
	t := touchOf(op.Seed)
	switch op.Kind {
	case OpWrite:
		return s.WriteAt(fill(op.Seed, int(op.N)), op.Off, t)
	case OpZero:
		return s.Zero(op.Off, op.N, t)
	case OpSetSize:
		return s.SetSize(op.N, t)
	case OpSetAllocation:
		return s.SetAllocation(op.N, t)
	}
	return s.SetValidData(op.N, t)
}

func (x *Executor) names(op Op) (pos store.Pos, err error) {
	switch op.Kind {
	case OpUpdate:
		err = x.node(op.Ref, func(n store.Node) error { pos, err = n.Update(changeOf(op.Seed)); return err })
	case OpRename:
		err = x.inDir(op.Ref, func(from store.Node, name string) error {
			return x.inDir(op.To, func(to store.Node, newName string) error {
				pos, err = x.v.Rename(from, name, to, newName, op.Replace)
				return err
			})
		})
	case OpLink:
		err = x.node(op.Ref, func(n store.Node) error {
			return x.inDir(op.To, func(to store.Node, name string) error {
				pos, err = x.v.Link(n, to, name, op.Replace)
				return err
			})
		})
	case OpUnlink:
		err = x.inDir(op.Ref, func(d store.Node, name string) error { pos, err = x.v.Unlink(d, name); return err })
	case OpCreateStream:
		err = x.node(op.Ref, func(n store.Node) error {
			s, p, err := n.CreateStream(op.Name)
			if pos = p; err == nil {
				s.Close()
			}
			return err
		})
	case OpRemoveStream:
		err = x.node(op.Ref, func(n store.Node) error { pos, err = n.RemoveStream(op.Name); return err })
	case OpRenameStream:
		err = x.node(op.Ref, func(n store.Node) error {
			pos, err = n.RenameStream(op.Name, op.To.Stream, op.Replace)
			return err
		})
	default:
		err = fmt.Errorf("unknown operation %d", op.Kind)
	}
	return pos, err
}

func (x *Executor) slot(op Op) (out string, pos store.Pos, err error) {
	x.release(op.Ref.Slot)
	if op.Kind == OpClose {
		return "", 0, nil
	}
	n, err := x.open(op.To)
	if err != nil {
		return "", 0, err
	}
	s, err := n.Stream(op.To.Stream)
	if op.To.Stream == "" {
		s, err = n.Data()
	}
	if err != nil {
		n.Close()
		return "", 0, err
	}
	x.nodes[op.Ref.Slot], x.data[op.Ref.Slot] = n, s
	return "", 0, nil
}

func (x *Executor) kv(op Op) (out string, pos store.Pos, err error) {
	rng := rand.New(rand.NewPCG(op.Seed, 5))
	var edits []store.KVEdit
	for range op.N {
		e := store.KVEdit{Bucket: buckets[rng.IntN(len(buckets))], Key: strconv.Itoa(rng.IntN(12))}
		if rng.IntN(3) > 0 {
			e.Value = fill(rng.Uint64(), rng.IntN(200))
		}
		edits = append(edits, e)
	}
	pos, err = x.v.KV().Apply(edits)
	return "", pos, err
}

var buckets = []string{"reservations", "opens", "o"}

func (x *Executor) pin(op Op) (out string, pos store.Pos, err error) {
	if op.Kind == OpUnpin {
		pos, err = x.v.Pins().Release(pinID(op.To.Pin))
		return "", pos, err
	}
	return "", pos, x.stream(op.Ref, func(s store.Stream) error {
		p := store.Pin{ID: pinID(op.To.Pin), Range: store.Range{Off: op.Off, Len: op.N}, Expires: dtyp.Filetime(math.MaxInt64), Note: fill(op.Seed, 20)}
		p, pos, err = x.v.Pins().Add(p, s)
		out = p.Stream
		return err
	})
}

func (x *Executor) snapshot(op Op) (out string, pos store.Pos, err error) {
	sn := x.v.Snapshots()
	switch op.Kind {
	case OpSnapshot:
		ids, err := x.ids(op.Scope)
		if err == nil {
			_, pos, err = sn.Create(op.Name, ids)
		}
		return "", pos, err
	case OpDeleteSnapshot:
		v, err := x.view(op.Name)
		if err == nil {
			pos, err = sn.Delete(v)
		}
		return "", pos, err
	case OpRestore:
		v, err := x.view(op.Name)
		if err != nil {
			return "", 0, err
		}
		ids, err := x.ids(op.Scope)
		switch {
		case err != nil:
		case op.Replace:
			var list []store.Replacement
			for i, id := range ids {
				list = append(list, store.Replacement{To: id, From: ids[(i+1)%len(ids)]})
			}
			pos, err = sn.Replace(list, v)
		default:
			pos, err = sn.Restore(ids, v)
		}
		return "", pos, err
	case OpChanged:
		return "", 0, x.changed(op)
	case OpListSnapshots:
		err = x.node(op.Ref, func(n store.Node) error {
			ss, err := sn.List(n.ID())
			for _, s := range ss {
				out += " " + s.Name
			}
			return err
		})
		return out, 0, err
	}
	return "", 0, x.diff(op)
}

// ids finds the files at paths.
func (x *Executor) ids(paths []string) (ids []store.FileID, err error) {
	for _, p := range paths {
		if err := x.node(Ref{Path: p}, func(n store.Node) error { ids = append(ids, n.ID()); return nil }); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// changed checks that Changed names every file in which two views differ, in order, and
// none that neither has.
func (x *Executor) changed(op Op) error {
	var views [2]store.View
	var sides [2]map[store.FileID]string
	for i, name := range []string{op.Ref.View, op.To.View} {
		var err error
		if views[i], err = x.view(name); err != nil {
			return err
		}
		if sides[i], err = x.files(name, views[i]); err != nil {
			return err
		}
	}
	var list []store.FileID
	if err := x.v.Snapshots().Changed(views[0], views[1], func(id store.FileID) bool { list = append(list, id); return true }); err != nil {
		return err
	}
	for i, id := range list {
		if i > 0 && list[i-1] >= id {
			return fmt.Errorf("changed files out of order: %v", list)
		}
		if _, ok := sides[0][id]; ok {
			continue
		}
		if _, ok := sides[1][id]; !ok {
			return fmt.Errorf("changed file %d is in neither view", id)
		}
	}
	for i, side := range sides {
		for id, text := range side {
			other, both := sides[1-i][id]
			if _, listed := slices.BinarySearch(list, id); !listed && other != text && (both || x.whole(op.Ref.View) && x.whole(op.To.View)) {
				return fmt.Errorf("file %d differs, not in %v:\n%s\n%s", id, list, text, other)
			}
		}
	}
	return nil
}

// whole reports whether a view covers all of the volume.
func (x *Executor) whole(name string) bool {
	if name == "" {
		return true
	}
	s, err := x.v.Snapshots().Find(name)
	return err == nil && slices.Contains(s.Scope, store.RootID)
}

// files describes every file of a view.
func (x *Executor) files(name string, v store.View) (map[store.FileID]string, error) {
	queue := []store.FileID{store.RootID}
	if v != store.Live {
		s, err := x.v.Snapshots().Find(name)
		if err != nil {
			return nil, err
		}
		queue = slices.Clone(s.Scope)
	}
	out := map[store.FileID]string{}
	for ; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if _, ok := out[id]; ok {
			continue
		}
		n, err := x.v.OpenID(v, id)
		if err != nil {
			return nil, err
		}
		text, below, err := x.describe(n)
		n.Close()
		if err != nil {
			return nil, err
		}
		out[id] = text
		queue = append(queue, below...)
	}
	return out, nil
}

// describe is all that a view has of one file, and what is in it.
func (x *Executor) describe(n store.Node) (text string, below []store.FileID, err error) {
	a, err := n.Attr()
	if err != nil {
		return "", nil, err
	}
	t := &taker{v: x.v, d: Dump{}}
	if err := t.node(n, "", false); err != nil {
		return "", nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(t.d)) {
		text += k + " " + t.d[k] + "\n"
	}
	text += attrText(a)
	if !a.Dir {
		return text, nil, nil
	}
	es, err := x.v.ReadDir(n, "", 1000, nil)
	for _, e := range es {
		text += fmt.Sprintf("\n%d %s", e.ID, e.Name)
		below = append(below, e.ID)
	}
	return text, below, err
}

// diff checks that two views of a stream are the same outside the ranges that
// Diff names.
func (x *Executor) diff(op Op) error {
	a, err := x.view(op.Ref.View)
	if err != nil {
		return err
	}
	b, err := x.view(op.To.View)
	if err != nil {
		return err
	}
	var id store.FileID
	if err := x.node(Ref{Path: op.Ref.Path}, func(n store.Node) error { id = n.ID(); return nil }); err != nil {
		return err
	}
	var rs []store.Range
	if err := x.v.Snapshots().Diff(id, op.Ref.Stream, a, b, func(r store.Range) bool { rs = append(rs, r); return true }); err != nil {
		return err
	}
	var sides [2]map[int64]uint64
	for i, v := range []store.View{a, b} {
		n, err := x.v.OpenID(v, id)
		if err != nil {
			return err
		}
		defer n.Close()
		s, err := openStream(n, op.Ref.Stream)
		if err != nil {
			return err
		}
		defer s.Close()
		if sides[i], err = contents(s); err != nil {
			return err
		}
	}
	for i := range rs {
		if rs[i].Len <= 0 || i > 0 && rs[i-1].Off+rs[i-1].Len > rs[i].Off {
			return fmt.Errorf("difference out of order: %v", rs)
		}
	}
	for i, side := range sides {
		for k, h := range side {
			if sides[1-i][k] != h && !touches(rs, k*block, (k+1)*block) {
				return fmt.Errorf("block at %d differs, not in %v", k*block, rs)
			}
		}
	}
	return nil
}

func touches(rs []store.Range, lo, hi int64) bool {
	return slices.ContainsFunc(rs, func(r store.Range) bool { return r.Off < hi && lo < r.Off+r.Len })
}

func (x *Executor) view(name string) (store.View, error) {
	if name == "" {
		return store.Live, nil
	}
	s, err := x.v.Snapshots().Find(name)
	return s.View, err
}

// open walks to a path.
func (x *Executor) open(r Ref) (store.Node, error) {
	elems := strings.Split(r.Path, "/")
	var n store.Node
	var err error
	switch {
	case r.View == "":
		n, err = x.v.Root(store.Live)
	default:
		s, err2 := x.v.Snapshots().Find(r.View)
		if err2 != nil {
			return nil, err2
		}
		id := store.RootID
		if i, err := strconv.Atoi(strings.TrimPrefix(elems[0], "#")); err == nil && i < len(s.Scope) {
			id = s.Scope[i]
		}
		n, err = x.v.OpenID(s.View, id)
	}
	for _, e := range elems[1:] {
		if e == "" || err != nil {
			continue
		}
		d := n
		n, _, err = x.v.Open(d, e)
		d.Close()
	}
	return n, err
}

// node runs fn on the node that r names.
func (x *Executor) node(r Ref, fn func(store.Node) error) error {
	if r.Slot > 0 {
		if x.nodes[r.Slot] == nil {
			return errSlot
		}
		return fn(x.nodes[r.Slot])
	}
	n, err := x.open(r)
	if err != nil {
		return err
	}
	defer n.Close()
	return fn(n)
}

func openStream(n store.Node, name string) (store.Stream, error) {
	if name == "" {
		return n.Data()
	}
	return n.Stream(name)
}

func (x *Executor) stream(r Ref, fn func(store.Stream) error) error {
	if r.Pin > 0 {
		_, s, err := x.v.Pins().Use(pinID(r.Pin))
		if err != nil {
			return err
		}
		defer s.Close()
		return fn(s)
	}
	if r.Slot > 0 && x.data[r.Slot] != nil {
		return fn(x.data[r.Slot])
	}
	return x.node(r, func(n store.Node) error {
		s, err := openStream(n, r.Stream)
		if err != nil {
			return err
		}
		defer s.Close()
		return fn(s)
	})
}

// inDir runs fn on the directory and the last element of a path.
func (x *Executor) inDir(r Ref, fn func(d store.Node, name string) error) error {
	i := strings.LastIndexByte(r.Path, '/')
	d, err := x.open(Ref{View: r.View, Path: r.Path[:i+1]})
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(d, r.Path[i+1:])
}

var hashSeed = maphash.MakeSeed()

func sum(p []byte) uint64 { return maphash.Bytes(hashSeed, p) }

// fill is what a write with this seed writes: random, compressible, one
// byte over and over, or zeros.
func fill(seed uint64, n int) []byte {
	switch seed % 8 {
	case 0:
		return make([]byte, n)
	case 1, 2:
		p := make([]byte, 0, n+64)
		for i := 0; len(p) < n; i++ {
			p = fmt.Appendf(p, "line %d of %d says the same. ", i, seed)
		}
		return p[:n]
	case 3:
		p := pattern(seed, n) // one block of it is zeros
		if at := int(seed>>8) % (n + 1); n-at >= 3*block {
			clear(p[at : at+2*block])
		}
		return p
	}
	return pattern(seed, n)
}

func touchOf(seed uint64) store.Touch {
	t := store.Touch{LastWrite: dtyp.Filetime(seed>>16 | 1), Change: dtyp.Filetime(seed>>20 | 1)}
	if seed%5 == 0 {
		t = store.Touch{}
	}
	if seed%3 == 0 {
		t.SetAttributes = 0x20
	}
	return t
}

func initOf(seed uint64) store.Init {
	i := store.Init{FileAttributes: uint32(seed>>8) & 0x227, Times: times(seed >> 40), EASize: uint32(seed>>12) % 3}
	if seed%3 == 0 {
		i.Blobs = map[store.BlobKind][]byte{store.BlobSecurity: pattern(seed, 20+int(seed>>8)%300)}
	}
	if seed%7 == 0 {
		i.Allocation = int64(seed>>16) % (1 << 20)
	}
	return i
}

func changeOf(seed uint64) store.Change {
	var c store.Change
	if seed&1 != 0 {
		a := uint32(seed>>8) & 0x227
		c.FileAttributes = &a
	}
	if seed&2 != 0 {
		c.Times = times(seed >> 40)
	}
	if seed&4 != 0 {
		c.Times.Creation, c.Times.LastAccess = 0, 0
	}
	if seed&8 != 0 {
		size := 1 + int(seed>>16)%500
		if seed&0xf00 == 0 {
			size *= 130
		}
		if seed&0xf000 == 0 {
			size = 0
		}
		c.Blobs = map[store.BlobKind][]byte{store.BlobKind(1 + seed>>4%4): pattern(seed, size)}
	}
	if seed&16 != 0 {
		e := uint32(seed>>24) % 1000
		c.EASize = &e
	}
	if seed&32 != 0 {
		r := uint32(seed>>28) % 3 * 0xA000000C
		c.ReparseTag = &r
	}
	return c
}
