package server

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// outgoing is a connection's queue of messages to be sent. Whoever finds it idle
// writes; two never do at once. The reader writes what its batch produced itself, and
// a goroutine of the pool the large message it made, as long as the socket takes it at once;
// all else is left to the writer goroutine.
type outgoing struct {
	conn *conn
	raw  syscall.RawConn // nil when the transport is no socket
	wake chan struct{}

	mu         sync.Mutex
	head, tail *buffer // in order; guarded by mu
	queued     int     // bytes; guarded by mu
	offered    uint64  // bytes since the beginning; guarded by mu
	corked     bool    // the reader will flush; guarded by mu
	writing    bool    // guarded by mu
	closed     bool    // guarded by mu

	stalled atomic.Int64 // since when a write has been waiting, else 0

	// Used by the one that writes.
	vec  [][]byte
	list net.Buffers
	once func(fd uintptr) bool
	sent int
	err  error
}

// maxQueued bounds what waits for a client that does not read: twice what a
// connection's largest transfers would be at once in practice. Such a client is dropped.
const maxQueued = 256 << 20

// maxVector is how many pieces one system call takes.
const maxVector = 512

func (o *outgoing) init(c *conn) {
	o.conn = c
	o.wake = make(chan struct{}, 1)
	if sc, ok := c.net.(syscall.Conn); ok {
		o.raw, _ = sc.SyscallConn()
	}
	o.once = func(fd uintptr) bool {
		o.sent, o.err = unix.Writev(int(fd), o.vec)
		return true
	}
}

// add queues one message, a list of buffers.
func (o *outgoing) add(first *buffer) { o.enqueue(first, false) }

// addNow is add by a goroutine that has time to write a large message.
func (o *outgoing) addNow(first *buffer) {
	size := 0
	for b := first; b != nil; b = b.next {
		size += len(b.data)
	}
	if size < large {
		o.add(first)
	} else if _, ok := o.enqueue(first, true); ok {
		o.push()
	}
}

// offer is add, and reports whether the connection was there to take the message and
// where in the stream it ends.
func (o *outgoing) offer(first *buffer) (end uint64, ok bool) { return o.enqueue(first, false) }

// enqueue is offer; pushes says that the caller will push.
func (o *outgoing) enqueue(first *buffer, pushes bool) (end uint64, ok bool) {
	size := 0
	last := first
	for b := first; b != nil; b = b.next {
		size += len(b.data)
		last = b
	}
	o.conn.server.metrics.bytesOut.Add(float64(size))
	o.mu.Lock()
	if o.closed || o.queued+size > maxQueued && o.queued > 0 {
		closed := o.closed
		o.mu.Unlock()
		o.drop(first)
		if !closed {
			o.conn.fail("client does not take its replies")
		}
		return 0, false
	}
	if o.tail == nil {
		o.head = first
	} else {
		o.tail.next = first
	}
	o.tail = last
	o.queued += size
	o.offered += uint64(size)
	end = o.offered
	wake := !o.corked && !o.writing && !pushes
	o.mu.Unlock()
	if wake {
		o.rouse()
	}
	return end, true
}

func (o *outgoing) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// cork announces a flush by the reader.
func (o *outgoing) cork() {
	o.mu.Lock()
	o.corked = true
	o.mu.Unlock()
}

// claim takes the queue over for writing; nil if there is nothing or another writes.
func (o *outgoing) claim(uncork bool) *buffer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if uncork {
		o.corked = false
	}
	if o.writing || o.head == nil {
		return nil
	}
	b := o.head
	o.head, o.tail = nil, nil
	o.writing = true
	return b
}

// unclaim ends writing; rest is what could not be written. It reports whether there is more.
// If the queue was closed meanwhile there is nobody left who would look at rest.
func (o *outgoing) unclaim(rest *buffer, written int) bool {
	o.mu.Lock()
	o.writing = false
	o.queued -= written
	if o.closed {
		o.mu.Unlock()
		o.drop(rest)
		return false
	}
	defer o.mu.Unlock()
	if rest != nil {
		last := rest
		for last.next != nil {
			last = last.next
		}
		last.next = o.head
		o.head = rest
		if o.tail == nil {
			o.tail = last
		}
	}
	return o.head != nil
}

// flush writes the queue if that needs no waiting; only the reader calls it.
func (o *outgoing) flush() {
	if list := o.claim(true); list != nil {
		o.take(list)
	}
}

// take writes a claimed list as far as that needs no waiting.
func (o *outgoing) take(list *buffer) {
	written := 0
	if o.raw != nil {
		o.vec = o.vec[:0]
		for b := list; b != nil && len(o.vec) < maxVector; b = b.next {
			o.vec = append(o.vec, b.data)
		}
		if err := o.raw.Write(o.once); err == nil && o.err == nil && o.sent > 0 {
			written = o.sent
			list = o.sentOf(list, written)
		}
		clear(o.vec)
	}
	if o.unclaim(list, written) {
		o.rouse()
	}
}

// large is how much a message must hold for the goroutine that made it to write it: its
// bytes are in that processor's cache, and the writer would have to be woken. Small ones
// rather wait for each other.
const large = 64 << 10

// push writes the queue if nobody else does and the socket takes it at once; what it does
// not take is the writer's.
func (o *outgoing) push() {
	if list := o.claim(false); list != nil {
		o.take(list)
	}
}

// sentOf releases what the first n bytes of list were in and returns the rest.
func (o *outgoing) sentOf(list *buffer, n int) *buffer {
	for list != nil && n >= len(list.data) {
		n -= len(list.data)
		next := list.next
		o.free(list)
		list = next
	}
	if list != nil {
		list.data = list.data[n:]
	}
	return list
}

func (o *outgoing) free(b *buffer) {
	o.conn.server.budget.give(b.charge)
	b.release()
}

// drop releases a message that is not sent.
func (o *outgoing) drop(list *buffer) {
	for list != nil {
		next := list.next
		o.free(list)
		list = next
	}
}

// write is the writer goroutine: it ends when the queue is closed.
func (o *outgoing) write() {
	defer o.conn.chainDone()
	defer o.conn.recovered(nil)
	for {
		<-o.wake
		o.mu.Lock()
		closed := o.closed
		o.mu.Unlock()
		if closed {
			return
		}
		for {
			list := o.claim(false)
			if list == nil {
				break
			}
			o.list = o.vec[:0]
			last := list
			size := 0
			for b := list; b != nil && len(o.list) < maxVector; b = b.next {
				o.list = append(o.list, b.data)
				size += len(b.data)
				last = b
			}
			o.vec = o.list[:0]
			rest := last.next
			last.next = nil
			o.stalled.Store(o.conn.server.clock.Load())
			_, err := o.list.WriteTo(o.conn.net)
			o.stalled.Store(0)
			o.drop(list)
			more := o.unclaim(rest, size)
			if err != nil {
				o.conn.net.Close()
				o.close()
				return
			}
			if !more {
				break
			}
		}
	}
}

// position is where in the stream the next message begins.
func (o *outgoing) position() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.offered
}

// maxLent is how much may be queued for a client that is still lent the store's memory: who asks for
// much and takes nothing must not keep it from others.
const maxLent = 16 << 20

// behind reports that the client has much to take.
func (o *outgoing) behind() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued > maxLent
}

// empty reports that everything has been written, or will never be.
func (o *outgoing) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed || o.queued == 0
}

// isClosed reports that nothing more is sent: the connection is lost.
func (o *outgoing) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// close drops the queue and ends the writer. What has been claimed is dropped by the one
// that claimed it.
func (o *outgoing) close() {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	o.closed = true
	list := o.head
	o.head, o.tail = nil, nil
	o.mu.Unlock()
	o.drop(list)
	o.rouse()
}
