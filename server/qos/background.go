package qos

// Background work of the array itself (cleaning, verifying, making clones real) is a flow
// like others, of little weight: it has what others leave, and a little when they leave
// nothing.
const (
	backgroundName   = "background"
	backgroundWeight = 5
)

// turn is the owner of a request that a goroutine of the store waits for.
type turn struct {
	t        Ticket
	admitted chan struct{}
}

func (w *turn) Admitted() { close(w.admitted) }

// Background waits until it is background work's turn to move that many bytes, or stop is
// closed. The goroutine that waits is the store's own.
func (s *Service) Background(bytes int, stop <-chan struct{}) {
	w := &turn{admitted: make(chan struct{})}
	b := &Binding{service: s}
	b.flow.Store(s.background)
	if !b.Submit(&w.t, w, bytes, 0) {
		select {
		case <-w.admitted:
		case <-stop:
			if !s.Cancel(&w.t) {
				<-w.admitted
			}
		}
	}
	s.Done(&w.t)
}
