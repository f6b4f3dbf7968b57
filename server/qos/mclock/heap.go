package mclock

// An element of a heap knows its place there, so that it can be removed or moved.
type element interface {
	comparable
	key(order) int64
	place(order) *int // index in the heap plus 1, 0: not in it
}

// order says by which tag a heap sorts.
type order uint8

const (
	byWeight      order = iota // P
	byReservation              // R
	byTime                     // when the class becomes eligible
	orders
)

// heap has its element of the least key in front. It keeps the keys beside each other: thousands
// of elements lie all over memory, and comparing them there would cost more than all else.
type heap[T element] struct {
	by    order
	items []item[T]
}

type item[T element] struct {
	key int64 // of e, as of push or fix
	e   T
}

func (h *heap[T]) len() int { return len(h.items) }

func (h *heap[T]) min() T { return h.items[0].e }

func (h *heap[T]) push(e T) {
	h.items = append(h.items, item[T]{e.key(h.by), e})
	*e.place(h.by) = len(h.items)
	h.up(len(h.items) - 1)
}

// remove takes e out if it is in.
func (h *heap[T]) remove(e T) {
	p := e.place(h.by)
	i := *p - 1
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	*p = 0
	moved := h.items[last]
	h.items[last] = item[T]{}
	h.items = h.items[:last]
	if i == last {
		return
	}
	h.items[i] = moved
	*moved.e.place(h.by) = i + 1
	if !h.up(i) {
		h.down(i)
	}
}

// fix restores the order after e's key has changed.
func (h *heap[T]) fix(e T) {
	i := *e.place(h.by) - 1
	if i < 0 {
		return
	}
	k := e.key(h.by)
	if k == h.items[i].key {
		return
	}
	h.items[i].key = k
	if !h.up(i) {
		h.down(i)
	}
}

func (h *heap[T]) up(i int) (moved bool) {
	x := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		p := h.items[parent]
		if p.key <= x.key {
			break
		}
		h.items[i] = p
		*p.e.place(h.by) = i + 1
		i, moved = parent, true
	}
	if moved {
		h.items[i] = x
		*x.e.place(h.by) = i + 1
	}
	return moved
}

func (h *heap[T]) down(i int) {
	x, from := h.items[i], i
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if r := child + 1; r < len(h.items) && h.items[r].key < h.items[child].key {
			child = r
		}
		c := h.items[child]
		if c.key >= x.key {
			break
		}
		h.items[i] = c
		*c.e.place(h.by) = i + 1
		i = child
	}
	if i != from {
		h.items[i] = x
		*x.e.place(h.by) = i + 1
	}
}
