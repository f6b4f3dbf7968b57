package scale

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// What is asserted is what a user could notice and no other work on the machine changes: the bytes that
// the server allocates for an operation, the memory that it keeps for what it holds, and that sockets,
// goroutines and opens come back. Time is only printed.

// metrics are the figures of /metrics without labels.
func (a *array) metrics() map[string]float64 {
	a.Helper()
	resp, err := a.api().Get("http://gabion/metrics")
	a.must(err)
	defer resp.Body.Close()
	m := map[string]float64{}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	return m
}

// kept is how large the heap may grow before it is collected again, twice what is in use, and the goroutines' stacks:
// as it is after a collection of garbage that began later than the call. With -figures it is not asked for, which would
// change the memory that is measured: 0.
func (a *array) kept() float64 {
	a.Helper()
	if *figures {
		return 0
	}
	m := a.metrics()
	// Asking allocates as well, so that there will be one.
	for first := m["go_gc_duration_seconds_count"]; m["go_gc_duration_seconds_count"] < first+2; m = a.metrics() {
		_, err := io.Copy(io.Discard, a.get("/v1/openapi.json"))
		a.must(err)
	}
	return m["go_memstats_next_gc_bytes"] + m["go_memstats_stack_inuse_bytes"]
}

func (a *array) get(path string) io.Reader {
	a.Helper()
	resp, err := a.api().Get("http://gabion" + path)
	a.must(err)
	a.Cleanup(func() { resp.Body.Close() })
	return resp.Body
}

// opens is how many the server says it has.
func (a *array) opens() int {
	a.Helper()
	var status struct{ Opens int }
	a.must(json.NewDecoder(a.get("/v1/status")).Decode(&status))
	return status.Opens
}

// allocated is how many bytes the server allocates for one of work's operations. It is the least of some rounds: what the
// store does in the background comes and goes.
func (a *array) allocated(depth int, work func(i int) error) float64 {
	a.Helper()
	const rounds, n = 5, 200
	total := func() float64 { return a.metrics()["go_memstats_alloc_bytes_total"] }
	least, asking := math.Inf(1), math.Inf(1)
	for range rounds {
		asking = min(asking, -total()+total())
	}
	a.cost(n, depth, work) // what is allocated once
	for range rounds {
		before := total()
		a.cost(n, depth, work)
		least = min(least, (total()-before-asking)/n)
	}
	return max(least, 0)
}

// flat asserts that an operation allocates no more where there is much than where there is little, but for the
// logarithm of it: a list that is copied, or an index that is read, would show.
func (a *array) flat(what string, little, much float64) {
	a.Helper()
	a.Logf("%s allocates %.0f bytes, and %.0f where there is much", what, little, much)
	if much > 2*little+2*kib {
		a.Errorf("%s allocates %.0f bytes, and %.0f where there is much", what, little, much)
	}
}

// comesBack waits until a figure is no more than it was.
func (a *array) comesBack(what string, was int, now func() int) {
	a.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		n := now()
		if n <= was {
			return
		}
		if time.Now().After(end) {
			a.Errorf("%s: %d, were %d", what, n, was)
			return
		}
	}
}

func (a *array) goroutines() int { return int(a.metrics()["go_goroutines"]) }
