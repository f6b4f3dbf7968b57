package crash

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hirochachacha/go-smb2"

	"gabion/conformance/rig"
)

// rounds is the number of kills: few in `go test`, 200 where time is no matter.
func rounds(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("GABION_CRASH_ROUNDS")); err == nil {
		return n
	}
	return otherwise
}

// shares: on "ca" every write is durable on reply, on "plain" what a flush covers.
var shares = []string{"--share", "ca,ca,path=ca", "--share", "plain,path=plain"}

func TestKilledServerLosesNothing(t *testing.T) {
	v := start(t, "lose")
	for r := range rounds(8) {
		if problems := v.round(r); len(problems) > 0 {
			for _, p := range problems {
				t.Error(p)
			}
			t.Fatalf("round %d, GABION_CRASH_SEED=%d\n%s", r, v.seed, v.server.Stderr())
		}
	}
	if v.acked < v.waited {
		t.Errorf("%d operations were acknowledged in %d rounds that waited for one", v.acked, v.waited)
	}
	t.Logf("%d acknowledged operations checked", v.acked)
	if err := v.server.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if out, errs, err := v.server.Command("check"); err != nil {
		t.Errorf("check: %v\n%s%s", err, out, errs)
	}
}

// A server that forgets to sync its log is found out.
func TestVerifierFindsAMissingSync(t *testing.T) {
	v := start(t, "nosync=/log/")
	for r := range 20 {
		if problems := v.round(r); len(problems) > 0 {
			t.Logf("found in round %d: %s", r, problems[0])
			return
		}
	}
	t.Errorf("20 rounds without the log's sync, %d operations, and nothing was missed", v.acked)
}

// verifier is a server and the writers whose notes outlive it.
type verifier struct {
	t       *testing.T
	server  *rig.Server
	seed    uint64
	rng     *rand.Rand
	writers []*writer
	acked   int           // operations
	waited  int           // rounds that waited for an acknowledgement
	acks    chan struct{} // has one in it after a writer's first reply
}

func start(t *testing.T, vfs string) *verifier {
	seed := uint64(1)
	if n, err := strconv.ParseUint(os.Getenv("GABION_CRASH_SEED"), 10, 64); err == nil {
		seed = n
	}
	v := &verifier{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), acks: make(chan struct{}, 1)}
	v.server = rig.Start(t, append([]string{"--test-vfs", vfs}, shares...)...)
	for i := range 6 {
		share := []string{"ca", "plain"}[i%2]
		v.writers = append(v.writers, newWriter(uint32(i+1), share, i%2 == 0, v.rng.Uint64(), v.acks))
	}
	return v
}

// round lets the writers work, kills the server, starts it again and returns
// what is wrong.
func (v *verifier) round(r int) (problems []string) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards problems
	each := func(fn func(*writer, *smb2.Share) error) {
		for _, w := range v.writers {
			wg.Go(func() {
				share, done, err := v.mount(w.share)
				if err != nil {
					v.t.Errorf("writer %d cannot mount %s: %v", w.id, w.share, err)
					share, done = nil, func() {}
				}
				err = fn(w, share)
				done()
				if err != nil {
					mu.Lock()
					problems = append(problems, fmt.Sprintf("writer %d on %s: %v", w.id, w.share, err))
					mu.Unlock()
				}
			})
		}
	}
	kill := time.Duration(v.rng.IntN(400)) * time.Millisecond
	select {
	case <-v.acks: // of the round before
	default:
	}
	killed := make(chan struct{})
	var mounted sync.WaitGroup
	mounted.Add(len(v.writers))
	each(func(w *writer, s *smb2.Share) error {
		mounted.Done()
		if s == nil {
			return nil
		}
		return w.work(s, killed)
	})
	mounted.Wait()
	over := make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	if r%4 != 3 { // in every fourth round it may die before it has answered anything
		select {
		case <-v.acks: // on a busy machine a round could be over before the first reply
			v.waited++
		case <-over: // all have given up
		}
	}
	time.Sleep(kill) // how long the server lives is what a round varies
	close(killed)
	v.server.Kill()
	<-over
	if len(problems) > 0 {
		return problems
	}
	if err := v.server.Run(); err != nil {
		return []string{fmt.Sprintf("restart %d: %v", r, err)}
	}
	each(func(w *writer, s *smb2.Share) error {
		if s == nil {
			return nil
		}
		return w.verify(s)
	})
	wg.Wait()
	for _, w := range v.writers {
		v.acked += w.ackedOps
		w.ackedOps = 0
	}
	return problems
}

// mount opens a session of its own.
func (v *verifier) mount(share string) (*smb2.Share, func(), error) {
	c, err := net.Dial("tcp", v.server.Addr)
	if err != nil {
		return nil, nil, err
	}
	d := &smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: rig.User, Password: rig.Password}}
	session, err := d.Dial(c)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	s, err := session.Mount(share)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return s, func() { c.Close() }, nil
}
