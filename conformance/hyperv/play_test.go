package hyperv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gabion/conformance/ad"
	"gabion/conformance/client"
	"gabion/conformance/transcript"
	"gabion/protocol/smb2"
)

func TestMain(m *testing.M) { ad.Main(m) }

func TestTranscripts(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("GABION_HYPERV_ROUNDS"))
	w := newWorld(t, ownDomain(t))
	stop := w.load()
	began := time.Now()
	for round := range max(1, rounds) {
		for _, file := range transcript.Files(t) {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				(&play{world: w, t: t, folder: fmt.Sprintf("%d-%s", round, filepath.Base(file))}).run(file)
			})
		}
	}
	n := stop()
	t.Logf("eight disks had %.0f requests a second meanwhile%s", float64(n)/time.Since(began).Seconds(), w.figures())
}

// The same with a real domain controller, and nobody else about.
func TestTranscriptsInActiveDirectory(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	w := newWorld(t, activeDirectory(t))
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			(&play{world: w, t: t, folder: filepath.Base(file)}).run(file)
		})
	}
}

// play is one transcript being played, in a folder of its own.
type play struct {
	*world
	t       *testing.T
	folder  string
	hosts   map[string]*client.Tree
	seen    map[string]chan smb2.LeaseBreakNotification // by each host
	slow    sync.Map                                    // hosts that acknowledge when they are told to
	acks    atomic.Int64                                // acknowledgements that hosts sent by themselves
	handles map[string]*handle
	tags    map[string]bool // of patterns written
}

func (p *play) run(file string) {
	p.hosts, p.handles, p.tags = map[string]*client.Tree{}, map[string]*handle{}, map[string]bool{}
	p.seen = map[string]chan smb2.LeaseBreakNotification{}
	defer func() {
		for _, tree := range p.hosts {
			tree.Session.Conn.Close()
		}
	}()
	if f, err := p.host("HV1").Create(client.OpenDirectory(p.folder)); err != nil {
		p.t.Fatal(err)
	} else if err := f.Close(); err != nil {
		p.t.Fatal(err)
	}
	transcript.Play(p.t, file, func(line string) string {
		return p.domain.ours.Replace(p.do(p.domain.theirs.Replace(line)))
	})
}

// do carries out a line and returns the result.
func (p *play) do(line string) string {
	words := split(line)
	if len(words) < 2 {
		return "what?"
	}
	v, known := verbs[words[1]]
	if !known || len(words)-2 < v.least {
		return "what?"
	}
	if _, known := accounts[words[0]]; !known {
		return "who?"
	}
	return v.run(p, words[0], words[2:])
}

// split cuts a line into words; quotes hold a word with blanks together.
func split(line string) (words []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// host is the connection of somebody, made when it is first needed.
func (p *play) host(name string) *client.Tree {
	if p.hosts[name] == nil {
		tree, err := p.dial(name, 0)
		if err != nil {
			p.t.Fatalf("%s: %v", name, err)
		}
		p.connected(name, tree)
	}
	return p.hosts[name]
}

// connected makes a connection that of a host, which answers breaks on it as long as it lasts.
func (p *play) connected(name string, tree *client.Tree) {
	if p.seen[name] == nil {
		p.seen[name] = make(chan smb2.LeaseBreakNotification, 64)
	}
	p.hosts[name] = tree
	seen := p.seen[name]
	go func() {
		for {
			r, err := tree.Session.Conn.Break()
			if errors.Is(err, client.ErrTimeout) {
				continue
			}
			if err != nil {
				return
			}
			n, err := r.LeaseBreak()
			if err != nil {
				continue
			}
			if _, slow := p.slow.Load(name); !slow && n.Flags&smb2.NotifyBreakLeaseAckRequired != 0 {
				p.acks.Add(1) // before it is sent, and so before the open that waits for it is answered
				began := time.Now()
				if _, err := tree.AcknowledgeLease(n.LeaseKey, n.NewLeaseState); err == nil {
					p.took("acknowledgement", began)
				}
			}
			seen <- n
		}
	}()
}

// path is where a path of the transcript is on the share.
func (p *play) path(name string) string { return strings.TrimSuffix(p.folder+`\`+name, `\`) }

// bytes reads 512, 4K, 1M, 64G.
func (p *play) bytes(text string) int64 {
	shift := 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]); i >= 0 {
			shift, text = 10*(i+1), text[:n-1]
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.t.Fatalf("%q is not a number of bytes", text)
	}
	return n << shift
}

// size is the inverse of bytes.
func size(n int64) string {
	for i, unit := range []string{"T", "G", "M", "K"} {
		if shift := 40 - 10*i; n != 0 && n%(1<<shift) == 0 {
			return fmt.Sprint(n>>shift, unit)
		}
	}
	return fmt.Sprint(n)
}
