package peer

import (
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/odx"
	"gabion/protocol/relay"
	"gabion/store"
)

// Link is an array's side of all its connections to others.
type Link struct {
	Book    *Book
	id      *Identity
	log     *slog.Logger
	metrics *metrics
	buffers sync.Pool // of fetches, *[relay.MaxData]byte
	parcels sync.Pool // of answers, *parcel
	srv     *server   // nil unless Serve was called
}

// Open reads identity and peers from a volume. log and r may be nil.
func Open(vol store.Volume, log *slog.Logger, r prometheus.Registerer) (*Link, error) {
	id, err := OpenIdentity(vol)
	if err != nil {
		return nil, err
	}
	l := &Link{id: id, log: log, metrics: newMetrics(r)}
	if l.log == nil {
		l.log = discard
	}
	l.buffers.New = func() any { return new([relay.MaxData]byte) }
	l.parcels.New = newParcel
	l.Book, err = openBook(vol, id.Fingerprint, func(f Fingerprint, address string) *client {
		return &client{link: l, peer: f, address: address}
	})
	return l, err
}

// Fingerprint is this array's.
func (l *Link) Fingerprint() Fingerprint { return l.id.Fingerprint }

// Serve answers, from now on and until Close, other arrays that come in at a listener. It is
// called at most once.
func (l *Link) Serve(at net.Listener, tokens *odx.Tokens) {
	l.srv = &server{link: l, tokens: tokens, at: at, turns: make(chan struct{}, maxRequests), conns: map[net.Conn]bool{}}
	l.srv.wg.Go(l.srv.serve)
}

// Address is where other arrays are answered, "" if they are not.
func (l *Link) Address() string {
	if l.srv == nil {
		return ""
	}
	return l.srv.at.Addr().String()
}

// Close ends all connections and waits for what serves them.
func (l *Link) Close() {
	if l.srv != nil {
		l.srv.close()
	}
	l.Book.close()
}

type metrics struct {
	sent, holes, received      prometheus.Counter
	refused, failed, strangers prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "gabion_peer_" + name, Help: help})
		if r != nil {
			r.MustRegister(c)
		}
		return c
	}
	return &metrics{
		sent:      counter("sent_bytes_total", "Bytes of data sent to other arrays."),
		holes:     counter("hole_bytes_total", "Bytes of holes that were told to other arrays instead of sent."),
		received:  counter("received_bytes_total", "Bytes fetched from other arrays, holes included."),
		refused:   counter("refused_total", "Requests of other arrays that were refused."),
		failed:    counter("failures_total", "Transfers from other arrays that broke off."),
		strangers: counter("strangers_total", "Connections that no peer made."),
	}
}
