package rsvd

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the transcripts")

// A transcript is played by initiators, one letter each, every one of them a virtual machine
// on a host of its own with persistent handles. Lines are "initiator command -> result";
// "A.2" means A on disk 2, without a number it is disk 1. Keys are hexadecimal.
//
//	open | close | lose (the connection, without a word) | back (reclaims the handles)
//	register KEY | reregister OLD NEW | unregister | reserve TYPE | release TYPE | clear
//	preempt TYPE KEY | abort TYPE KEY | keys | reservation | ready | name (same as every other's?)
//	read | write | synchronize    READ and WRITE of a block that tells who wrote it, FLUSH
//	scsi-read | scsi-write        the same by CDB
//	die                           begins a long write and loses the connection at once
//
// "kill" is kill -9 of the server and its next start; everybody who was connected comes back.
type transcript struct {
	*testing.T
	server  *rig.Server
	players map[string]*player
	names   map[string]string // designator of each disk
}

// player is an initiator.
type player struct {
	letter byte
	host   *Host
	disks  map[string]*Disk
	keys   map[string]uint64
}

var typeNames = map[string]byte{"we": WriteExclusive, "ea": ExclusiveAccess, "we-ro": WriteExclusiveRegistrantsOnly,
	"ea-ro": ExclusiveAccessRegistrantsOnly, "we-ar": WriteExclusiveAllRegistrants, "ea-ar": ExclusiveAccessAllRegistrants}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { playFile(t, path) })
	}
}

func playFile(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	must(t, err)
	r, s := start(t)
	p := &transcript{T: t, server: r, players: map[string]*player{}, names: map[string]string{}}
	h, err := s.Connect()
	must(t, err)
	for i := 1; i <= 3; i++ {
		must(t, h.Upload(fmt.Sprintf("%d.vhdx", i), dynamic(t, smallDisk)))
	}
	h.Close()
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "=") {
			continue
		}
		if line == "kill" {
			p.kill()
			continue
		}
		do, want, _ := strings.Cut(line, " -> ")
		got := p.play(strings.Fields(do))
		lines[i] = do + " -> " + got
		if got != want && !*rewrite {
			t.Errorf("%s:%d: %s -> %s, not %s", path, i+1, do, got, want)
		}
	}
	if *rewrite {
		must(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666))
	}
}

// kill is a power cut of the server; persistent handles survive it.
func (p *transcript) kill() {
	p.server.Kill()
	must(p.T, p.server.Run())
	for _, who := range p.players {
		if who.host != nil {
			p.back(who)
		}
	}
}

func (p *transcript) connect(who *player) {
	s := serverOf(p.server)
	guid := dtyp.GUID{who.letter, 14: 1}
	h, err := s.ConnectAs(guid)
	must(p.T, err)
	p.Cleanup(h.Close)
	who.host = h
}

func (p *transcript) back(who *player) string {
	p.connect(who)
	for n, d := range who.disks {
		again, err := who.host.Reclaim(d)
		if err != nil {
			return word(err)
		}
		who.disks[n] = again
	}
	return "ok"
}

func (p *transcript) play(f []string) string {
	name, number, _ := strings.Cut(f[0], ".")
	if number == "" {
		number = "1"
	}
	who := p.players[name]
	if who == nil {
		who = &player{letter: name[0], disks: map[string]*Disk{}, keys: map[string]uint64{}}
		p.players[name] = who
	}
	verb, args := f[1], f[2:]
	switch verb {
	case "open":
		return p.open(who, number)
	case "lose":
		who.host.Close()
		who.host = nil
		return "ok"
	case "back":
		return p.back(who)
	case "die":
		_, err := who.host.Tree.Start(&smb2.WriteRequest{FileID: who.disks[number].ID, Data: who.block(1 << 20)})
		must(p.T, err)
		who.host.Close()
		who.host = nil
		return "ok"
	case "close":
		d := who.disks[number]
		delete(who.disks, number)
		return word(d.Close())
	}
	return p.command(who, number, verb, args)
}

func (p *transcript) open(who *player, number string) string {
	if who.host == nil {
		p.connect(who)
	}
	d, err := who.host.Open(number+".vhdx", How{Initiator: initiator(who.letter), Host: string(who.letter), Persistent: dtyp.NewGUID()})
	if err == nil {
		who.disks[number] = d
	}
	return word(err)
}

// block is filled with the letter of who writes it.
func (w *player) block(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = w.letter
	}
	return b
}

func shows(b []byte) string {
	if b[0] == 0 {
		return "ok, empty"
	}
	return "ok, by " + string(b[0])
}

func (p *transcript) command(who *player, number, verb string, args []string) string {
	d, mine := who.disks[number], who.keys[number]
	key := func(i int) uint64 {
		k, err := strconv.ParseUint(args[i], 16, 64)
		must(p.T, err)
		return k
	}
	switch verb {
	case "register":
		who.keys[number] = key(0)
		return outcome(d.ReserveOut(RegisterAndIgnore, 0, 0, key(0)))
	case "reregister":
		who.keys[number] = key(1)
		return outcome(d.ReserveOut(Register, 0, key(0), key(1)))
	case "unregister":
		return outcome(d.ReserveOut(RegisterAndIgnore, 0, 0, 0))
	case "reserve":
		return outcome(d.ReserveOut(Reserve, typeNames[args[0]], mine, 0))
	case "release":
		return outcome(d.ReserveOut(Release, typeNames[args[0]], mine, 0))
	case "clear":
		return outcome(d.ReserveOut(Clear, 0, mine, 0))
	case "preempt":
		return outcome(d.ReserveOut(Preempt, typeNames[args[0]], mine, key(1)))
	case "abort":
		return outcome(d.ReserveOut(PreemptAndAbort, typeNames[args[0]], mine, key(1)))
	case "ready":
		return outcome(d.SCSI([]byte{0, 0, 0, 0, 0, 0}, nil, 0))
	case "read":
		b := make([]byte, 4096)
		if _, err := d.ReadAt(b, 0); err != nil {
			return word(err)
		}
		return shows(b)
	case "write":
		_, err := d.WriteAt(who.block(4096), 0)
		return word(err)
	case "synchronize":
		return outcome(d.SCSI([]byte{0x35, 9: 0}, nil, 0))
	case "scsi-read":
		r, err := d.SCSI([]byte{0x28, 8: 4, 9: 0}, nil, 2048)
		if err == nil && r.ScsiStatus == Good {
			return shows(r.Data)
		}
		return outcome(r, err)
	case "scsi-write":
		return outcome(d.SCSI([]byte{0x2A, 8: 4, 9: 0}, who.block(2048), 0))
	case "keys":
		return p.keys(d)
	case "reservation":
		return p.reservation(d)
	case "name":
		return p.designator(d, number)
	}
	p.Fatalf("unknown command %q", verb)
	return ""
}

func (p *transcript) keys(d *Disk) string {
	generation, keys, err := d.Keys()
	must(p.T, err)
	s := fmt.Sprintf("generation %d:", generation)
	for _, k := range keys {
		s += fmt.Sprintf(" %x", k)
	}
	return s
}

func (p *transcript) reservation(d *Disk) string {
	generation, key, kind, err := d.Reservation()
	must(p.T, err)
	for name, k := range typeNames {
		if k == kind {
			return fmt.Sprintf("generation %d: %x %s", generation, key, name)
		}
	}
	return fmt.Sprintf("generation %d: none", generation)
}

// designator compares what VPD page 83h says with what it said before, and with the names
// of the other disks.
func (p *transcript) designator(d *Disk, number string) string {
	b, err := d.Designator()
	must(p.T, err)
	for n, name := range p.names {
		switch {
		case n == number && name != string(b):
			return "another name than before"
		case n != number && name == string(b):
			return "the name of disk " + n
		}
	}
	p.names[number] = string(b)
	return "its own"
}

// outcome is how a SCSI command ended.
func outcome(r wire.SCSIResponse, err error) string {
	if err != nil {
		return word(err)
	}
	switch r.ScsiStatus {
	case Good:
		return "good"
	case ReservationConflict:
		return "conflict"
	case TaskAborted:
		return "aborted"
	}
	kind := "error"
	if r.Sense[2] == 6 {
		kind = "UA"
	}
	return fmt.Sprintf("%s %02X/%02X/%02X", kind, r.Sense[2], r.Sense[12], r.Sense[13])
}

// word is how an SMB2 command ended.
func word(err error) string {
	status, ok := client.Status(err)
	var s ntstatus.Status
	switch {
	case err == nil:
		return "ok"
	case ok && status == ntstatus.SVHDXReservationConflict:
		return "conflict"
	case errors.As(err, &s):
		return s.String()
	}
	return err.Error()
}
