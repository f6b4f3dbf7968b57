package transfer

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"gabion/protocol/archive"
)

// BrokenError says where and why a stream cannot be read on, and from where it can be continued.
type BrokenError struct {
	Position int64        // of the frame in the stream, in bytes
	Frame    uint64       // its number in its part
	Mark     archive.Mark // what is complete ahead of it
	ID       string       // of the export
	Cause    error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the stream is broken at byte %d (frame %d): %v; %d entries are complete, continue with --resume %v",
		e.Position, e.Frame, e.Cause, e.Mark.Entries, e.Mark)
}

func (e *BrokenError) Unwrap() error { return e.Cause }

// Reasons for a broken stream besides those of package archive.
var (
	ErrCut      = errors.New("it ends too early")
	ErrSequence = errors.New("a frame is missing or out of order")
	ErrOther    = errors.New("a part of another export")
	ErrSender   = errors.New("the sender could not go on")
)

// Reader reads the frames of a stream, verified and in their order, and knows where it is.
type Reader struct {
	r   *bufio.Reader
	pos int64 // of the next frame
	at  int64 // of the present one
	seq uint64
	buf []byte

	begun  bool
	begin  archive.Begin
	mark   archive.Mark
	inside bool // an entry is open
	dir    bool
	stream bool // a stream is open
	again  bool // the next stream is the one that the mark names
	ended  bool
}

// NewReader reads a stream from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), buf: make([]byte, 4096)}
}

// Frame is a frame of a stream, decoded. Data is valid until the next call.
type Frame struct {
	Type   archive.Type
	Begin  *archive.Begin
	Entry  *archive.Entry
	Stream *archive.Stream
	End    *archive.End
	Off, N int64 // of data and zeros
	Data   []byte
}

// Mark is what is complete.
func (r *Reader) Mark() archive.Mark { return r.mark }

// Position is where the next frame begins.
func (r *Reader) Position() int64 { return r.pos }

// Begin is the part that is being read.
func (r *Reader) Begin() archive.Begin { return r.begin }

// Next returns the next frame; io.EOF behind the end of the stream, a *BrokenError where
// it is not what a sender sends.
func (r *Reader) Next() (*Frame, error) {
	f, err := r.next()
	if err == nil || err == io.EOF {
		return f, err
	}
	return nil, &BrokenError{Position: r.at, Frame: r.seq, Mark: r.mark, ID: r.begin.ID, Cause: err}
}

func (r *Reader) next() (*Frame, error) {
	r.at = r.pos
	head := r.buf[:archive.HeaderSize]
	if n, err := io.ReadFull(r.r, head); err != nil {
		if n == 0 && err == io.EOF && r.ended {
			return nil, io.EOF
		}
		return nil, cut(err)
	}
	h, err := archive.DecodeHeader(head)
	if err != nil {
		return nil, err
	}
	if n := archive.HeaderSize + int(h.Length); n > len(r.buf) {
		r.buf = append(make([]byte, 0, n), head...)[:n]
	}
	payload := r.buf[archive.HeaderSize : archive.HeaderSize+int(h.Length)]
	if _, err := io.ReadFull(r.r, payload); err != nil {
		return nil, cut(err)
	}
	if err := h.Verify(payload); err != nil {
		return nil, err
	}
	if h.Type == archive.TypeBegin {
		r.seq = 0
	}
	if h.Seq != r.seq || r.ended && h.Type != archive.TypeBegin {
		return nil, fmt.Errorf("%w: frame %d", ErrSequence, h.Seq)
	}
	f := &Frame{Type: h.Type}
	if err := r.take(f, payload); err != nil {
		return nil, err
	}
	r.seq++
	r.pos += archive.HeaderSize + int64(h.Length)
	return f, nil
}

func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrCut
	}
	return fmt.Errorf("%w: %v", ErrCut, err)
}

// take decodes a payload and moves the mark.
func (r *Reader) take(f *Frame, payload []byte) error {
	if !r.begun && f.Type != archive.TypeBegin {
		return fmt.Errorf("%w: it begins with %v", ErrSequence, f.Type)
	}
	order := func(ok bool) error {
		if ok {
			return nil
		}
		return fmt.Errorf("%w: %v", ErrSequence, f.Type)
	}
	switch f.Type {
	case archive.TypeBegin:
		return r.takeBegin(f, payload)
	case archive.TypeEntry:
		if err := order(!r.inside); err != nil {
			return err
		}
		f.Entry = new(archive.Entry)
		if err := archive.Decode(payload, f.Entry); err != nil {
			return err
		}
		r.inside, r.dir = true, f.Entry.Dir
		r.again = r.mark.Streams > 0
		r.stream = !r.dir && !r.again
	case archive.TypeStream:
		if err := order(r.inside); err != nil {
			return err
		}
		f.Stream = new(archive.Stream)
		if err := archive.Decode(payload, f.Stream); err != nil {
			return err
		}
		if r.stream {
			r.mark.Streams, r.mark.Offset = r.mark.Streams+1, 0
		}
		r.stream, r.again = true, false
	case archive.TypeData:
		off, data, err := archive.Data(payload)
		if err != nil {
			return err
		}
		f.Off, f.N, f.Data = off, int64(len(data)), data
		return r.takeData(f)
	case archive.TypeZero:
		var err error
		if f.Off, f.N, err = archive.Zero(payload); err != nil {
			return err
		}
		return r.takeData(f)
	case archive.TypeEntryEnd:
		if err := order(r.inside); err != nil {
			return err
		}
		r.inside, r.stream = false, false
		r.mark = archive.Mark{Entries: r.mark.Entries + 1}
	case archive.TypeEnd:
		if err := order(!r.inside); err != nil {
			return err
		}
		f.End = new(archive.End)
		if err := archive.Decode(payload, f.End); err != nil {
			return err
		}
		if f.End.Entries != r.mark.Entries {
			return fmt.Errorf("%w: %d entries of %d", ErrSequence, r.mark.Entries, f.End.Entries)
		}
		r.ended = true
	case archive.TypeFailure:
		var x archive.Failure
		if err := archive.Decode(payload, &x); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", ErrSender, x.Message)
	default:
		return fmt.Errorf("%w: %v", ErrSequence, f.Type)
	}
	return nil
}

// takeBegin starts the stream, or continues it at the mark where the part before was cut.
func (r *Reader) takeBegin(f *Frame, payload []byte) error {
	f.Begin = new(archive.Begin)
	if err := archive.Decode(payload, f.Begin); err != nil {
		return err
	}
	m := f.Begin.From
	if m.Entries < 0 || m.Streams < 0 || m.Offset < 0 {
		return archive.ErrPayload
	}
	if r.begun && (f.Begin.ID != r.begin.ID || m != r.mark) {
		return fmt.Errorf("%w, or it does not continue at %v: %q from %v", ErrOther, r.mark, f.Begin.ID, m)
	}
	r.begun, r.begin, r.mark = true, *f.Begin, m
	r.inside, r.stream, r.ended = false, false, false
	return nil
}

func (r *Reader) takeData(f *Frame) error {
	if !r.stream || f.N < 0 || f.Off < r.mark.Offset || f.Off+f.N < f.Off {
		return fmt.Errorf("%w: %v at %d behind %d", ErrSequence, f.Type, f.Off, r.mark.Offset)
	}
	r.mark.Offset = f.Off + f.N
	return nil
}
