package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
)

const bucket = "schedules"

// ErrUnknown is returned for a schedule that is not there.
var ErrUnknown = errors.New("there is no such schedule")

// Status is a schedule and how it is doing.
type Status struct {
	Schedule
	Next  time.Time `json:"next,omitzero"`
	Kept  int       `json:"kept"`
	Error string    `json:"error"` // of the last time, "" if it went well
}

// Keeper runs the schedules of a volume. Its methods are safe for concurrent use.
type Keeper struct {
	vol      store.Volume
	book     *versions.Book
	machines *vm.Book
	log      *slog.Logger
	// Held names what keeps a snapshot from being deleted, "" if nothing does.
	Held func(snapshot string) string
	// Now is the clock.
	Now func() time.Time

	poke chan struct{} // something changed

	mu     sync.Mutex // guards the rest
	all    map[string]Schedule
	failed map[string]string // the last error of a schedule
}

// Open reads the schedules of a volume; Run makes them happen.
func Open(book *versions.Book, machines *vm.Book, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{
		vol: book.Volume, book: book, machines: machines, log: log, Now: time.Now,
		poke: make(chan struct{}, 1), all: map[string]Schedule{}, failed: map[string]string{},
	}
	var bad error
	err := k.vol.KV().Scan(bucket, "", func(key string, value []byte) bool {
		var s Schedule
		bad = json.Unmarshal(value, &s)
		k.all[key] = s
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("reading the schedules: %w", err)
	}
	return k, nil
}

// Set makes a schedule, or changes it.
func (k *Keeper) Set(s Schedule) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s.Since = k.Now().UTC()
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.all[strings.ToUpper(s.Name)]; ok {
		s.Name = old.Name // its snapshots know it by that
	}
	return k.put(s)
}

// put keeps a schedule. Caller holds mu.
func (k *Keeper) put(s Schedule) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	key := strings.ToUpper(s.Name)
	if err := k.apply(store.KVEdit{Bucket: bucket, Key: key, Value: value}); err != nil {
		return err
	}
	k.all[key] = s
	delete(k.failed, key)
	k.wake()
	return nil
}

// Pause stops a schedule, or lets it go on.
func (k *Keeper) Pause(name string, paused bool) (Schedule, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.all[strings.ToUpper(name)]
	if !ok {
		return s, fmt.Errorf("schedule %q: %w", name, ErrUnknown)
	}
	s.Paused, s.Since = paused, k.Now().UTC()
	return s, k.put(s)
}

// Remove forgets a schedule; its snapshots stay.
func (k *Keeper) Remove(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := strings.ToUpper(name)
	if _, ok := k.all[key]; !ok {
		return fmt.Errorf("schedule %q: %w", name, ErrUnknown)
	}
	if err := k.apply(store.KVEdit{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	delete(k.all, key)
	k.wake()
	return nil
}

func (k *Keeper) apply(e store.KVEdit) error {
	pos, err := k.vol.KV().Apply([]store.KVEdit{e})
	if err != nil {
		return err
	}
	return k.vol.Wait(pos)
}

func (k *Keeper) wake() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// schedules are all by name.
func (k *Keeper) schedules() []Schedule {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]Schedule, 0, len(k.all))
	for _, s := range k.all {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y Schedule) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// List tells the schedules and how they are doing.
func (k *Keeper) List() ([]Status, error) {
	taken, err := k.taken()
	if err != nil {
		return nil, err
	}
	out := []Status{}
	for _, s := range k.schedules() {
		key := strings.ToUpper(s.Name)
		st := Status{Schedule: s, Kept: len(taken[s.Name])}
		if !s.Paused {
			st.Next = s.due(taken[s.Name])
		}
		k.mu.Lock()
		st.Error = k.failed[key]
		k.mu.Unlock()
		out = append(out, st)
	}
	return out, nil
}

// taken are the snapshots of each schedule, oldest first.
func (k *Keeper) taken() (map[string][]Taken, error) {
	list, err := k.book.List(store.RootID)
	if err != nil {
		return nil, err
	}
	all := map[string][]Taken{}
	for n := range list {
		if i := &list[n]; i.Schedule != "" {
			all[i.Schedule] = append(all[i.Schedule], Taken{i.Name, i.Taken.Time(), i.Until})
		}
	}
	return all, nil
}

// due is when the schedule's next snapshot is to be taken.
func (s *Schedule) due(taken []Taken) time.Time {
	last := s.Since
	if n := len(taken); n > 0 && taken[n-1].At.After(last) {
		last = taken[n-1].At
	}
	return s.Next(last)
}

// retryAfter is how long a schedule that failed waits at least.
const retryAfter = time.Minute

// Run takes snapshots and expires them until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for {
		wait := k.Turn()
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-k.poke:
			t.Stop()
		case <-t.C:
		}
	}
}

// Turn does all that is due, and returns how long nothing will be.
func (k *Keeper) Turn() time.Duration {
	wait := time.Hour
	taken, err := k.taken()
	if err != nil {
		k.log.Warn("schedules: the snapshots cannot be listed", "error", err)
		return retryAfter
	}
	for _, s := range k.schedules() {
		if s.Paused {
			continue
		}
		key := strings.ToUpper(s.Name)
		now := k.Now()
		next := s.due(taken[s.Name])
		if !next.After(now) {
			got, err := k.take(&s, now)
			k.outcome(key, &s, err)
			if err != nil {
				wait = min(wait, retryAfter)
				continue
			}
			taken[s.Name] = append(taken[s.Name], got)
			next = s.due(taken[s.Name])
		}
		k.expire(&s, now, taken[s.Name])
		wait = min(wait, max(next.Sub(now), 0))
	}
	return wait
}

// take takes a schedule's snapshot.
func (k *Keeper) take(s *Schedule, now time.Time) (Taken, error) {
	t, err := k.machines.Resolve(s.Target)
	if err != nil {
		return Taken{}, err
	}
	m := versions.Meta{Target: t.Text, Schedule: s.Name, By: "schedule " + s.Name}
	if s.Immutable > 0 {
		m.Until = now.Add(s.Immutable).UTC()
	}
	base := s.Name + "-" + now.UTC().Format("20060102T150405Z")
	for n := 0; ; n++ {
		name := base
		if n > 0 {
			name = fmt.Sprintf("%s.%d", base, n)
		}
		i, err := k.book.Create(name, t.IDs(), m)
		if errors.Is(err, store.ErrExist) && n < 100 {
			continue
		}
		return Taken{name, i.Taken.Time(), m.Until}, err
	}
}

// outcome remembers how a schedule went, and says it once.
func (k *Keeper) outcome(key string, s *Schedule, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	k.mu.Lock()
	news := k.failed[key] != text
	k.failed[key] = text
	k.mu.Unlock()
	if err != nil && news {
		k.log.Warn("a scheduled snapshot could not be taken", "schedule", s.Name, "target", s.Target, "error", err)
	}
}

// expire deletes what may go.
func (k *Keeper) expire(s *Schedule, now time.Time, taken []Taken) {
	for _, name := range s.Keep.Expired(now, taken) {
		if k.Held != nil && k.Held(name) != "" {
			continue
		}
		var immutable *versions.ImmutableError
		err := k.book.Delete(name, nil)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.As(err, &immutable) {
			k.log.Warn("an expired snapshot could not be deleted", "schedule", s.Name, "snapshot", name, "error", err)
			return
		}
	}
}
