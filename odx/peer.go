package odx

import (
	"context"
	"errors"
)

// ErrUnreachable: the array that holds the data does not answer.
var ErrUnreachable = errors.New("the array that holds the data cannot be reached")

// Peers are the arrays whose tokens this one honours.
type Peers interface {
	// Remote returns how to fetch from an array, nil if it is not known.
	Remote(ArrayID) Fetcher
}

// Fetcher fetches from one array.
type Fetcher interface {
	// Fetch calls into with what a token of the array stands for, from off on, in order and
	// without gaps: n bytes, all zeros when data is nil. It returns how many were passed. data is into's
	// until it returns. ErrInvalid: the array does not know the token; ErrUnreachable: it cannot be asked.
	Fetch(ctx context.Context, token []byte, off, n int64, into func(data []byte, n int64) error) (int64, error)
}

// Remote is a token of another array.
type Remote func(ctx context.Context, off, n int64, into func(data []byte, n int64) error) (int64, error)

// foreign is a token of another array. Only that array can tell whether it is genuine.
func (t *Tokens) foreign(p *parsed, token []byte) (*Source, error) {
	if t.peers == nil || p.length == 0 || p.length > 1<<62 {
		return nil, ErrInvalid
	}
	f := t.peers.Remote(p.array)
	if f == nil {
		return nil, ErrInvalid
	}
	return &Source{Length: int64(p.length), Remote: func(ctx context.Context, off, n int64, into func([]byte, int64) error) (int64, error) {
		return f.Fetch(ctx, token, off, n, into)
	}}, nil
}
