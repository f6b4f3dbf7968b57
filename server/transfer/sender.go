package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"gabion/protocol/archive"
	"gabion/store"
)

// ahead is how many frames are read while one is sent.
const ahead = 4

// sender makes frames on the caller's goroutine, and seals and writes them on one of its own.
//
//	free ─▶ fill ─▶ full ─▶ seal, write ─▶ free
type sender struct {
	ctx  context.Context
	turn Turn
	free chan []byte
	full chan full
	done chan struct{} // the writer has ended
	err  error         // why; valid when done is closed
	seq  uint64
	data int64
}

// full is a frame that is ready to be sealed.
type full struct {
	b   []byte
	t   archive.Type
	seq uint64
}

const frameSize = archive.HeaderSize + archive.MaxPayload

func newSender(ctx context.Context, w io.Writer, turn Turn) *sender {
	s := &sender{ctx: ctx, turn: turn, free: make(chan []byte, ahead), full: make(chan full, ahead), done: make(chan struct{})}
	for range ahead {
		s.free <- make([]byte, frameSize)
	}
	go s.write(w)
	return s
}

// write sends frames until the channel is closed or something fails. It ends with close.
func (s *sender) write(w io.Writer) {
	defer close(s.done)
	defer func() {
		if p := recover(); p != nil {
			s.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack()) // the request's goroutine tells of it
		}
	}()
	for f := range s.full {
		archive.Seal(f.b, f.t, f.seq)
		if _, err := w.Write(f.b); err != nil {
			s.err = err
			return
		}
		s.free <- f.b[:frameSize]
	}
}

// close waits until everything is sent.
func (s *sender) close() error {
	close(s.full)
	<-s.done
	return s.err
}

// broken reports whether the receiver has gone.
func (s *sender) broken() bool {
	select {
	case <-s.done:
		return true
	default:
		return s.ctx.Err() != nil
	}
}

var errReceiver = errors.New("the receiver has gone")

// frame returns an empty frame.
func (s *sender) frame() ([]byte, error) {
	select {
	case b := <-s.free:
		return b, nil
	case <-s.done:
		return nil, errors.Join(errReceiver, s.err)
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// send sends a frame whose payload has n bytes.
func (s *sender) send(b []byte, t archive.Type, n int) error {
	f := full{b[:archive.HeaderSize+n], t, s.seq}
	s.seq++
	select {
	case s.full <- f:
		return nil
	case <-s.done:
		return errors.Join(errReceiver, s.err)
	}
}

func (s *sender) json(t archive.Type, v any) error {
	b, err := s.frame()
	if err != nil {
		return err
	}
	whole, err := archive.AppendJSON(b[:0], t, s.seq, v)
	if err != nil {
		return err
	}
	return s.send(whole[:frameSize:frameSize], t, len(whole)-archive.HeaderSize)
}

// entry sends an entry from a mark in it on.
func (s *sender) entry(it *item, from archive.Mark) error {
	if err := s.json(archive.TypeEntry, &it.entry); err != nil {
		return err
	}
	if a := it.entry.Action; a == archive.Whole || a == archive.Changed {
		if err := s.streams(it, from); err != nil {
			return err
		}
	}
	b, err := s.frame()
	if err != nil {
		return err
	}
	return s.send(b, archive.TypeEntryEnd, 0)
}

func (s *sender) streams(it *item, from archive.Mark) error {
	no := int64(0)
	next := func(x store.Stream, base store.Stream) error {
		defer x.Close()
		no++
		switch {
		case no <= from.Streams:
			return nil
		case no == from.Streams+1:
			return s.stream(x, base, from.Offset)
		}
		return s.stream(x, base, 0)
	}
	if !it.entry.Dir {
		x, err := it.now.Data()
		if err != nil {
			return err
		}
		var base store.Stream
		if it.base != nil {
			if base, err = it.base.Data(); err != nil {
				x.Close()
				return err
			}
			defer base.Close()
		}
		if err := next(x, base); err != nil {
			return err
		}
	}
	for _, name := range it.entry.Names {
		x, err := it.now.Stream(name)
		if err != nil {
			return err
		}
		z := x.Sizes()
		if no >= from.Streams {
			if err := s.json(archive.TypeStream, archive.Stream{Name: x.Name(), Size: z.Size, ValidData: z.ValidData}); err != nil {
				x.Close()
				return err
			}
		}
		if err := next(x, nil); err != nil {
			return err
		}
	}
	return nil
}

// stream sends the data of a stream from an offset on, or what differs from a base.
func (s *sender) stream(x, base store.Stream, from int64) error {
	size, valid := x.Sizes().Size, x.Sizes().ValidData
	part := func(r store.Range) error {
		r.Len = min(r.Off+r.Len, size) - r.Off
		if r.Off < from {
			r.Off, r.Len = from, r.Len-(from-r.Off)
		}
		if r.Len <= 0 {
			return nil
		}
		// What lies past the valid data are zeros, wherever they are stored.
		if n := min(r.Off+r.Len, valid) - r.Off; n > 0 {
			if err := s.part(x, store.Range{Off: r.Off, Len: n}, base != nil); err != nil {
				return err
			}
			r.Off, r.Len = r.Off+n, r.Len-n
		}
		if r.Len > 0 && base != nil {
			return s.zero(r.Off, r.Len)
		}
		return nil
	}
	if base == nil {
		return part(store.Range{Off: 0, Len: size})
	}
	var err error
	bad := x.DiffersFrom(base, func(r store.Range) bool {
		err = part(r)
		return err == nil
	})
	return errors.Join(err, bad)
}

// allocStep is how much of a stream is asked for at once where its data is.
const allocStep = 1 << 30

// part sends the data of a range, and where holes matter, these.
func (s *sender) part(x store.Stream, r store.Range, holes bool) error {
	for end := r.Off + r.Len; r.Off < end; {
		n := min(end-r.Off, allocStep)
		list, err := x.Allocated(r.Off, n, nil)
		if err != nil {
			return err
		}
		at := r.Off
		for _, a := range append(list, store.Range{Off: r.Off + n}) {
			if holes && a.Off > at {
				if err := s.zero(at, a.Off-at); err != nil {
					return err
				}
			}
			if err := s.read(x, a); err != nil {
				return err
			}
			at = a.Off + a.Len
		}
		r.Off += n
	}
	return nil
}

func (s *sender) zero(off, n int64) error {
	b, err := s.frame()
	if err != nil {
		return err
	}
	archive.AppendZero(b[archive.HeaderSize:archive.HeaderSize], off, n)
	return s.send(b, archive.TypeZero, 16)
}

// read sends a range as Data frames, cut where their offsets are round.
func (s *sender) read(x store.Stream, r store.Range) error {
	for r.Len > 0 {
		b, err := s.frame()
		if err != nil {
			return err
		}
		n := min(r.Len, archive.MaxData-r.Off%archive.MaxData)
		payload := b[archive.HeaderSize:]
		archive.PutData(payload, r.Off)
		if err := s.turn.take(s.ctx, n); err != nil {
			return err
		}
		k, err := x.ReadAt(payload[archive.DataHead:archive.DataHead+n], r.Off)
		if int64(k) < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // a snapshot does not shrink
			}
			return err
		}
		if err := s.send(b, archive.TypeData, archive.DataHead+int(n)); err != nil {
			return err
		}
		s.data += n
		r.Off, r.Len = r.Off+n, r.Len-n
	}
	return nil
}
