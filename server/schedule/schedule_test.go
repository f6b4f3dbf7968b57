package schedule

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/memvol"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNext(t *testing.T) {
	for _, tt := range []struct{ every, at, after, want string }{
		{"15m", "", "2027-01-31T10:07:30Z", "2027-01-31T10:15:00Z"},
		{"15m", "", "2027-01-31T10:15:00Z", "2027-01-31T10:30:00Z"},
		{"15m", "5", "2027-01-31T10:07:30Z", "2027-01-31T10:20:00Z"},
		{"hourly", "30", "2027-01-31T10:07:30Z", "2027-01-31T10:30:00Z"},
		{"6h", "", "2027-01-31T18:00:00Z", "2027-02-01T00:00:00Z"},
		{"daily", "", "2027-01-31T10:00:00Z", "2027-02-01T00:00:00Z"},
		{"daily", "02:30", "2027-01-31T02:29:59Z", "2027-01-31T02:30:00Z"},
		{"daily", "02:30", "2027-01-31T02:30:00Z", "2027-02-01T02:30:00Z"},
		{"weekly", "sun 03:00", "2027-01-31T02:00:00Z", "2027-01-31T03:00:00Z"}, // a Sunday
		{"weekly", "sun 03:00", "2027-01-31T03:00:00Z", "2027-02-07T03:00:00Z"},
		{"weekly", "", "2027-01-31T03:00:00Z", "2027-02-01T00:00:00Z"},
		{"monthly", "04:00", "2027-01-31T03:00:00Z", "2027-02-01T04:00:00Z"},
		{"monthly", "", "2027-12-01T00:00:00Z", "2028-01-01T00:00:00Z"},
		{"hourly", "", "1969-12-31T23:30:00Z", "1970-01-01T00:00:00Z"},
	} {
		s := Schedule{Every: tt.every, At: tt.at}
		if got := s.Next(at(tt.after)); !got.Equal(at(tt.want)) {
			t.Errorf("every %s at %s after %s: %s, want %s", tt.every, tt.at, tt.after, got.Format(time.RFC3339), tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, s := range []Schedule{
		{}, {Name: "a b"}, {Name: "a", Every: "hourly"},
		{Name: "a", Every: "7m", Keep: Keep{Last: 1}}, {Name: "a", Every: "30s", Keep: Keep{Last: 1}},
		{Name: "a", Every: "often", Keep: Keep{Last: 1}}, {Name: "a", Every: "hourly", At: "03:00", Keep: Keep{Last: 1}},
		{Name: "a", Every: "daily", At: "sun 03:00", Keep: Keep{Last: 1}}, {Name: "a", Every: "daily", At: "25:00", Keep: Keep{Last: 1}},
		{Name: "a", Every: "daily", Keep: Keep{Last: -1, Daily: 3}}, {Name: "a", Every: "48h", Keep: Keep{Last: 1}},
	} {
		if s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

// Two years of hourly snapshots, expired at every step: of each kind as many are there as
// are to be kept, the newest of its period, and what is gone was never needed later.
func TestRetentionOverYears(t *testing.T) {
	k := Keep{Last: 3, Hourly: 24, Daily: 7, Weekly: 5, Monthly: 12, Yearly: 2}
	s := Schedule{Every: "hourly"}
	var all, kept []Taken
	now := at("2026-02-27T23:30:00Z")
	for range 2 * 366 * 24 {
		now = s.Next(now)
		x := Taken{Name: now.Format(time.RFC3339), At: now}
		all, kept = append(all, x), append(kept, x)
		gone := k.Expired(now, kept)
		kept = slices.DeleteFunc(kept, func(x Taken) bool { return slices.Contains(gone, x.Name) })
	}
	// Deciding at the end from all gives the same.
	gone := map[string]bool{}
	for _, name := range k.Expired(now, all) {
		gone[name] = true
	}
	left := slices.DeleteFunc(slices.Clone(all), func(x Taken) bool { return gone[x.Name] })
	if !slices.Equal(left, kept) {
		t.Errorf("step by step %d are left, at once %d", len(kept), len(left))
	}
	periods := map[string]int{}
	for _, x := range kept {
		for _, layout := range []string{"2006-01-02T15", "2006-01-02", "2006-01", "2006"} {
			periods[layout+x.At.Format(layout)]++
		}
	}
	for layout, want := range map[string]int{"2006-01-02T15": 24, "2006-01": 12} {
		n := 0
		for p := range periods {
			if strings.HasPrefix(p, layout+"2") && len(p) == 2*len(layout) {
				n++
			}
		}
		if n < want {
			t.Errorf("%s: %d periods are kept, want %d", layout, n, want)
		}
	}
	if len(kept) > 24+7+5+12+2 {
		t.Errorf("%d are kept", len(kept))
	}
	// Every hour of the last day, and the last of each of the days before.
	for h := range 24 {
		want := now.Add(-time.Duration(h) * time.Hour)
		if !slices.ContainsFunc(kept, func(x Taken) bool { return x.At.Equal(want) }) {
			t.Errorf("%v is missing", want)
		}
	}
}

func TestImmutableOutlivesItsTurn(t *testing.T) {
	now := at("2027-01-31T10:00:00Z")
	taken := []Taken{{"a", now.Add(-3 * time.Hour), now.Add(time.Hour)}, {"b", now.Add(-2 * time.Hour), time.Time{}}, {"c", now, time.Time{}}}
	if got := (Keep{Last: 1}).Expired(now, taken); !slices.Equal(got, []string{"b"}) {
		t.Errorf("expired %v", got)
	}
	if got := (Keep{Last: 1}).Expired(now.Add(time.Hour), taken); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("expired %v", got)
	}
}

type oneShare struct{}

func (oneShare) Folder(share string) (string, string, bool) { return "vms", "", share == "vms" }
func (oneShare) Names() []string                            { return []string{"vms"} }

// A keeper takes what is due by its clock, makes up once for what it missed, and says what
// goes wrong.
func TestKeeper(t *testing.T) {
	now := at("2027-01-31T10:07:00Z")
	clock := func() time.Time { return now }
	vol := memvol.New(memvol.Options{Now: clock})
	open := func() (*Keeper, *versions.Book) {
		book, err := versions.OpenBook(vol, clock)
		if err != nil {
			t.Fatal(err)
		}
		machines, err := vm.Open(vol, oneShare{})
		if err != nil {
			t.Fatal(err)
		}
		k, err := Open(book, machines, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		k.Now = clock
		return k, book
	}
	k, book := open()
	if err := k.Set(Schedule{Name: "hourly", Target: "vms", Every: "hourly", Keep: Keep{Last: 3}, Immutable: 90 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	names := func() (out []string) {
		list, err := book.List(store.RootID)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			out = append(out, i.Name)
		}
		return out
	}
	if wait := k.Turn(); wait != 53*time.Minute || len(names()) != 0 {
		t.Errorf("wait %v, %v", wait, names())
	}
	now = now.Add(53 * time.Minute)
	k.Turn()
	if got := names(); !slices.Equal(got, []string{"hourly-20270131T110000Z"}) {
		t.Errorf("%v", got)
	}
	// Down for a night: one is made up for.
	now = at("2027-02-01T08:30:00Z")
	k, book = open()
	if wait := k.Turn(); wait != 30*time.Minute || len(names()) != 2 {
		t.Errorf("wait %v, %v", wait, names())
	}
	for range 4 {
		now = now.Add(time.Hour)
		k.Turn()
	}
	if got := names(); len(got) != 3 {
		t.Errorf("three are kept: %v", got)
	}
	if _, err := k.Pause("HOURLY", true); err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Hour)
	if wait := k.Turn(); wait != time.Hour || len(names()) != 3 {
		t.Errorf("paused: wait %v, %v", wait, names())
	}
	if err := k.Set(Schedule{Name: "lost", Target: "none", Every: "hourly", Keep: Keep{Last: 3}}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	k.Turn()
	list, err := k.List()
	if err != nil || len(list) != 2 || list[1].Error == "" || list[0].Kept != 3 || !list[0].Paused {
		t.Errorf("%+v %v", list, err)
	}
	if err := k.Remove("lost"); err != nil {
		t.Error(err)
	}
	// Run is woken by a change, and ends with its context.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { k.Run(ctx); close(done) }()
	cancel()
	<-done
}
