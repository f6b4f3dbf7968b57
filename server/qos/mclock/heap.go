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

// heap has its element of the least key in front.
type heap[T element] struct {
	by    order
	items []T
}

func (h *heap[T]) len() int { return len(h.items) }

func (h *heap[T]) min() T { return h.items[0] }

func (h *heap[T]) push(e T) {
	h.items = append(h.items, e)
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
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	if i == last {
		return
	}
	h.items[i] = moved
	*moved.place(h.by) = i + 1
	if !h.up(i) {
		h.down(i)
	}
}

// fix restores the order after e's key has changed.
func (h *heap[T]) fix(e T) {
	if i := *e.place(h.by) - 1; i >= 0 && !h.up(i) {
		h.down(i)
	}
}

func (h *heap[T]) up(i int) (moved bool) {
	e := h.items[i]
	k := e.key(h.by)
	for i > 0 {
		parent := (i - 1) / 2
		p := h.items[parent]
		if p.key(h.by) <= k {
			break
		}
		h.items[i] = p
		*p.place(h.by) = i + 1
		i, moved = parent, true
	}
	h.items[i] = e
	*e.place(h.by) = i + 1
	return moved
}

func (h *heap[T]) down(i int) {
	e := h.items[i]
	k := e.key(h.by)
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if r := child + 1; r < len(h.items) && h.items[r].key(h.by) < h.items[child].key(h.by) {
			child = r
		}
		c := h.items[child]
		if c.key(h.by) >= k {
			break
		}
		h.items[i] = c
		*c.place(h.by) = i + 1
		i = child
	}
	h.items[i] = e
	*e.place(h.by) = i + 1
}
