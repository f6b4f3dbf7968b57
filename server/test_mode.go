package server

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
	"time"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// The control codes of Samba's test-suite, answered only with Config.TestMode.
const (
	fsctlTestUnacknowledged = 0x83848003 // from now on nothing on this connection counts as delivered
	fsctlTestPadIoctl       = 0x83848013 // answer with eight bytes before the output
	fsctlTestPadRead        = 0x83848023 // put eight bytes before the data of READ from now on
	fsctlTestSleep          = 0x83848043 // answer after as many milliseconds as the input byte says
)

// testControls are the rows of these codes.
var testControls map[uint32]fsctl

func init() {
	testControls = map[uint32]fsctl{
		fsctlTestUnacknowledged: {"TEST_UNACKNOWLEDGED", testUnacknowledged, fsctlNoOpen, capCount},
		fsctlTestPadIoctl:       {"TEST_PAD_IOCTL", testPadIoctl, fsctlNoOpen, capCount},
		fsctlTestPadRead:        {"TEST_PAD_READ", testPadRead, fsctlNoOpen, capCount},
		fsctlTestSleep:          {"TEST_SLEEP", testSleep, fsctlFile, capCount},
	}
}

// testState is how the codes make a connection behave.
type testState struct {
	deaf    atomic.Uint64 // if not 0: nothing behind this position counts as acknowledged
	padRead atomic.Bool
}

const testPadding = 8

// readPadding is how far the data of a READ response lies behind its fixed part.
func (t *testState) readPadding() int {
	if t.padRead.Load() {
		return testPadding
	}
	return 0
}

// isTestControl recognises the codes that name no open. They need no session either.
func (r *request) isTestControl() bool {
	if r.hdr.Command != smb2.CommandIoctl || !r.server().cfg.TestMode {
		return false
	}
	row, known := testControls[binary.LittleEndian.Uint32(r.msg[smb2Header+4:])]
	return known && row.flags&fsctlNoOpen != 0
}

func testUnacknowledged(r *request, req *smb2.IoctlRequest) {
	r.conn.deaf.Store(max(r.conn.out.position(), 1))
	r.respondIoctl(ntstatus.Success, req, nil)
}

func testPadIoctl(r *request, req *smb2.IoctlRequest) {
	output := bytes.Repeat([]byte{testPadding}, int(req.MaxOutputResponse))
	resp := smb2.IoctlResponse{CtlCode: req.CtlCode, FileID: req.FileID, Output: output}
	plain := resp.AppendTo(nil)
	at := len(plain) - len(output)
	padded := append(r.reserve(len(plain)+testPadding), plain[:at]...)
	padded = append(append(padded, make([]byte, testPadding)...), output...)
	binary.LittleEndian.PutUint32(padded[32:], uint32(smb2Header+at+testPadding)) // OutputOffset
	r.finish(ntstatus.Success, padded)
}

func testPadRead(r *request, req *smb2.IoctlRequest) {
	r.conn.padRead.Store(true)
	r.respondIoctl(ntstatus.Success, req, nil)
}

func testSleep(r *request, req *smb2.IoctlRequest) {
	if len(req.Input) != 1 {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	time.Sleep(time.Duration(req.Input[0]) * time.Millisecond)
	r.respondIoctl(ntstatus.Success, req, nil)
}
