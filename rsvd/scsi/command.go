package scsi

import (
	"errors"
	"fmt"

	"gabion/store"
)

// CDB is a command descriptor block, padded with zeros.
type CDB [16]byte

// Command is one command of an initiator.
type Command struct {
	Initiator Initiator
	CDB       CDB
	DataOut   []byte // valid until done is called
	// MaxIn bounds the data-in as an allocation length does.
	MaxIn int
}

// MaxTransfer bounds the bytes of one READ, WRITE or VERIFY.
const MaxTransfer = 8 << 20

// operation is one row of the command table.
type operation struct {
	opcode  byte
	service int // service action in CDB byte 1, or anyService
	name    string
	access  func(*CDB) Access
	// attends: a pending unit attention ends the command (SAM-5 5.14).
	attends bool
	run     func(*Target, *Command) Result
}

const anyService = -1

func always(a Access) func(*CDB) Access { return func(*CDB) Access { return a } }

// START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL are harmless in one direction
// (SBC-3 table 13).
func ifStart(c *CDB) Access {
	if c[4]&1 != 0 {
		return AccessNone
	}
	return AccessWrite
}

func ifAllow(c *CDB) Access {
	if c[4]&3 == 0 {
		return AccessNone
	}
	return AccessWrite
}

var (
	none    = always(AccessNone)
	reads   = always(AccessRead)
	writes  = always(AccessWrite)
	reserve = always(AccessReserve)
)

// operations are the commands of this unit; PERSISTENT RESERVE OUT is told apart
// before, because it alone may complete later.
var operations = []operation{
	{0x00, anyService, "TEST UNIT READY", none, true, nothing},
	{0x03, anyService, "REQUEST SENSE", none, false, (*Target).requestSense},
	{0x08, anyService, "READ(6)", reads, true, (*Target).read},
	{0x0A, anyService, "WRITE(6)", writes, true, (*Target).write},
	{0x12, anyService, "INQUIRY", none, false, (*Target).inquiry},
	{0x15, anyService, "MODE SELECT(6)", writes, true, (*Target).modeSelect},
	{0x16, anyService, "RESERVE(6)", reserve, true, unsupported},
	{0x17, anyService, "RELEASE(6)", reserve, true, unsupported},
	{0x1A, anyService, "MODE SENSE(6)", reads, true, (*Target).modeSense6},
	{0x1B, anyService, "START STOP UNIT", ifStart, true, nothing},
	{0x1E, anyService, "PREVENT ALLOW MEDIUM REMOVAL", ifAllow, true, nothing},
	{0x25, anyService, "READ CAPACITY(10)", none, true, (*Target).readCapacity10},
	{0x28, anyService, "READ(10)", reads, true, (*Target).read},
	{0x2A, anyService, "WRITE(10)", writes, true, (*Target).write},
	{0x2E, anyService, "WRITE AND VERIFY(10)", writes, true, (*Target).write},
	{0x2F, anyService, "VERIFY(10)", reads, true, (*Target).verify},
	{0x35, anyService, "SYNCHRONIZE CACHE(10)", writes, true, (*Target).synchronize},
	{0x41, anyService, "WRITE SAME(10)", writes, true, (*Target).writeSame},
	{0x42, anyService, "UNMAP", writes, true, (*Target).unmap},
	{0x55, anyService, "MODE SELECT(10)", writes, true, (*Target).modeSelect},
	{0x56, anyService, "RESERVE(10)", reserve, true, unsupported},
	{0x57, anyService, "RELEASE(10)", reserve, true, unsupported},
	{0x5A, anyService, "MODE SENSE(10)", reads, true, (*Target).modeSense10},
	{0x5E, anyService, "PERSISTENT RESERVE IN", none, true, (*Target).persistentReserveIn},
	{opThirdPartyCopyOut, populateToken, "POPULATE TOKEN", reads, true, (*Target).populateToken},
	{opThirdPartyCopyOut, writeUsingToken, "WRITE USING TOKEN", writes, true, (*Target).writeUsingToken},
	{opThirdPartyCopyIn, receiveTokenInformation, "RECEIVE ROD TOKEN INFORMATION", none, true, (*Target).receiveTokenInformation},
	{0x88, anyService, "READ(16)", reads, true, (*Target).read},
	{0x8A, anyService, "WRITE(16)", writes, true, (*Target).write},
	{0x8E, anyService, "WRITE AND VERIFY(16)", writes, true, (*Target).write},
	{0x8F, anyService, "VERIFY(16)", reads, true, (*Target).verify},
	{0x91, anyService, "SYNCHRONIZE CACHE(16)", writes, true, (*Target).synchronize},
	{0x93, anyService, "WRITE SAME(16)", writes, true, (*Target).writeSame},
	{0x9E, 0x10, "READ CAPACITY(16)", none, true, (*Target).readCapacity16},
	{0x9E, 0x12, "GET LBA STATUS", reads, true, (*Target).getLBAStatus},
	{0xA0, anyService, "REPORT LUNS", none, false, (*Target).reportLUNs},
	{0xA8, anyService, "READ(12)", reads, true, (*Target).read},
	{0xAA, anyService, "WRITE(12)", writes, true, (*Target).write},
}

const (
	opPersistentReserveOut = 0x5F

	serviceMask = 0x1F
)

var byOpcode = func() (t [256][]*operation) {
	for i := range operations {
		o := &operations[i]
		t[o.opcode] = append(t[o.opcode], o)
	}
	return t
}()

func lookup(c *CDB) *operation {
	for _, o := range byOpcode[c[0]] {
		if o.service == anyService || o.service == int(c[1]&serviceMask) {
			return o
		}
	}
	return nil
}

// Name returns the command's name in the words of SPC-4 and SBC-3.
func (c CDB) Name() string {
	if c[0] == opPersistentReserveOut {
		return "PERSISTENT RESERVE OUT"
	}
	if o := lookup(&c); o != nil {
		return o.name
	}
	return fmt.Sprintf("operation %#02x", c[0])
}

// Access returns what the command does. Changes of reservations are AccessReserve, by
// whatever generation of commands; commands that do not exist do nothing.
func (c CDB) Access() Access {
	if c[0] == opPersistentReserveOut {
		return AccessReserve
	}
	if o := lookup(&c); o != nil {
		return o.access(&c)
	}
	return AccessNone
}

// MovesData reports whether the command reads or changes the medium's contents, so
// that it must wait while a snapshot holds the disk still.
func (c CDB) MovesData() bool {
	o := lookup(&c)
	return o != nil && (o.access(&c) == AccessRead || o.access(&c) == AccessWrite)
}

// Execute runs a command and calls done once, usually before it returns. A change
// of reservations may complete later, on the goroutine that ends the last command
// it had to wait for; done must not block.
func (t *Target) Execute(c *Command, done func(Result)) {
	if c.CDB[0] == opPersistentReserveOut {
		r, bad := parseReserveOut(c)
		if bad != NoSense {
			done(check(bad))
			return
		}
		t.persistentReserveOut(r, done)
		return
	}
	done(t.execute(c))
}

func (t *Target) execute(c *Command) Result {
	o := lookup(&c.CDB)
	if o == nil {
		if len(byOpcode[c.CDB[0]]) > 0 { // known opcode, unknown service action
			return check(InvalidFieldInCDB)
		}
		return check(InvalidOperationCode)
	}
	access := o.access(&c.CDB)
	if access == AccessNone || access == AccessReserve {
		t.mu.Lock()
		r, ok := t.judge(c.Initiator, access, o.attends)
		t.mu.Unlock()
		if !ok {
			return r
		}
		return o.run(t, c)
	}
	var k Ticket
	if r, ok := t.Begin(&k, c.Initiator, access); !ok {
		return r
	}
	defer t.End(&k)
	return o.run(t, c)
}

func check(s Sense) Result { return Result{Status: CheckCondition, Sense: s} }

func nothing(*Target, *Command) Result     { return Result{} }
func unsupported(*Target, *Command) Result { return check(InvalidOperationCode) }

// dataIn is a GOOD result with data cut to the allocation length.
func (c *Command) dataIn(b []byte, allocation uint32) Result {
	return Result{Data: b[:min(len(b), int(allocation), c.MaxIn)]}
}

// ErrReadOnly is what a Disk returns that cannot be changed.
var ErrReadOnly = errors.New("scsi: write protected")

// WriteSense maps a medium's error on a change to sense data.
func WriteSense(err error) Sense {
	switch {
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrTooLarge):
		return SpaceAllocationFailed
	case errors.Is(err, store.ErrReadOnly), errors.Is(err, ErrReadOnly):
		return WriteProtected
	}
	return WriteError
}

func wrote(pos store.Pos, err error) Result {
	if err != nil {
		return check(WriteSense(err))
	}
	return Result{Pos: pos}
}
