package duet

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/conformance/transcript"
	"gabion/protocol/smb2"
)

// users are the players.
var users = map[string]client.Credentials{"A": {User: "ann", Password: "Secret-of-ann-1"}, "B": {User: "bob", Password: "Secret-of-bob-1"}}

func TestTranscripts(t *testing.T) {
	var args []string
	for _, u := range users {
		args = append(args, "--user", u.User+":"+u.Password)
	}
	s := rig.Start(t, args...)
	for _, file := range transcript.Files(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			(&play{t: t, addr: s.Addr, folder: filepath.Base(file)}).run(file)
		})
	}
}

// play is one transcript being played, in a folder of its own.
type play struct {
	t       *testing.T
	addr    string
	folder  string
	players map[string]*client.Tree
	handles map[string]*handle
	unread  map[string][]*client.Response // breaks that were not asked for yet, by player
}

func (p *play) run(file string) {
	p.players, p.handles, p.unread = map[string]*client.Tree{}, map[string]*handle{}, map[string][]*client.Response{}
	defer func() {
		for _, tree := range p.players {
			tree.Session.Conn.Close()
		}
	}()
	f, err := p.player("A").Create(client.OpenDirectory(p.folder))
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	transcript.Play(p.t, file, p.do)
}

// do carries out a line and returns the result.
func (p *play) do(line string) string {
	words := strings.Fields(line)
	if len(words) < 2 {
		return "what?"
	}
	if _, known := users[words[0]]; !known {
		return "who?"
	}
	v, known := verbs[words[1]]
	if !known || len(words)-2 < v.least {
		return "what?"
	}
	return v.run(p, words[0], words[2:])
}

// player is somebody's connection, made when it is first needed.
func (p *play) player(who string) *client.Tree {
	if tree := p.players[who]; tree != nil {
		return tree
	}
	c, err := client.Dial(p.addr, client.Options{})
	if err == nil {
		err = c.Negotiate(client.Negotiation{ClientGUID: [16]byte{who[0]}})
	}
	var tree *client.Tree
	if err == nil {
		var s *client.Session
		if s, err = c.Login(users[who]); err == nil {
			tree, err = s.Connect("vms")
		}
	}
	if err != nil {
		p.t.Fatalf("%s: %v", who, err)
	}
	p.players[who] = tree
	return tree
}

// path is where a path of the transcript is on the share.
func (p *play) path(name string) string { return strings.TrimSuffix(p.folder+`\`+name, `\`) }

// told returns the first break that who was sent and that pick takes; others stay for later.
func (p *play) told(who string, pick func(*client.Response) bool) (*client.Response, error) {
	for i, r := range p.unread[who] {
		if pick(r) {
			p.unread[who] = slices.Delete(p.unread[who], i, i+1)
			return r, nil
		}
	}
	for {
		r, err := p.player(who).Session.Conn.Break()
		if err != nil || pick(r) {
			return r, err
		}
		p.unread[who] = append(p.unread[who], r)
	}
}

// handle is what a name of the transcript stands for: an open, or a request on its way.
type handle struct {
	file   *client.File
	who    string
	path   string
	key    smb2.LeaseKey
	leased bool
	on     *client.Pending
	async  uint64
	end    func() string // what comes of on
}

func (p *play) number(text string) uint64 {
	var n uint64
	if _, err := fmt.Sscan(text, &n); err != nil {
		p.t.Fatalf("%q is no number", text)
	}
	return n
}
