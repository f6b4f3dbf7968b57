package store

// Lender is what a Stream may offer besides: ReadAt that lends what the store has in memory, which
// saves copying it.
type Lender interface {
	// ReadParts is ReadAt, but appends to parts what it read, in order: pieces of p, each at its own
	// place in it, and memory of the store, which stays as it is until the part's loan is released.
	// It must not be written to. All of p may be written to meanwhile. With an error nothing is appended.
	ReadParts(p []byte, off int64, parts *Parts) (int, error)
}

// Loan is memory of the store that somebody reads.
type Loan interface {
	// Release ends the loan; it is called once, also after the volume was closed. It does not block.
	Release()
}

// Part is a piece of what was read. Without a loan it is the reader's own, or never changes.
type Part struct {
	Data []byte
	Loan Loan
}

// Parts is what was read, in pieces. The zero value is empty; it may be used again.
type Parts struct{ List []Part }

// Add appends a piece, to the last one if it continues that in memory of the reader's own.
func (p *Parts) Add(data []byte, loan Loan) {
	if k := len(p.List); k > 0 && loan == nil && len(data) > 0 {
		last := &p.List[k-1]
		if n := len(last.Data); last.Loan == nil && n < cap(last.Data) && &last.Data[:n+1][n] == &data[0] {
			last.Data = last.Data[:n+len(data)]
			return
		}
	}
	p.List = append(p.List, Part{data, loan})
}

// CopyTo copies the pieces to b, one after the other, those aside that are in place, and releases them.
func (p *Parts) CopyTo(b []byte) {
	for _, t := range p.List {
		if len(t.Data) > 0 && &t.Data[0] != &b[0] {
			copy(b, t.Data)
		}
		b = b[len(t.Data):]
	}
	p.Release()
}

// Release ends all loans and empties the list.
func (p *Parts) Release() {
	for _, t := range p.List {
		if t.Loan != nil {
			t.Loan.Release()
		}
	}
	clear(p.List)
	p.List = p.List[:0]
}
