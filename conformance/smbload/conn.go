package main

// One SMB connection: framing, negotiate, session setup, tree connect, and
// blocking request/response calls for set-up work. The pipelined loop in
// pipe.go takes over the same connection for the measured part.

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

type conn struct {
	nc  *net.TCPConn
	fr  *frames
	opt *options

	dialect  uint16
	cipherID uint16
	signAlg  uint16
	secMode  uint16
	caps     uint32
	maxTrans int
	maxRead  int
	maxWrite int

	preauth [64]byte
	session uint64
	tree    uint32
	encrypt bool
	signing bool
	signOut *signer
	signIn  *signer
	seal    *sealer
	aeadIn  cipher.AEAD

	msgID   uint64
	credits atomic.Int64
	// inflight is the credits charged for requests without a final answer.
	inflight   atomic.Int64
	creditGoal int64

	out []byte // frames being put together

	interim atomic.Int64 // STATUS_PENDING responses seen
	stray   atomic.Int64 // responses nobody asked for (oplock breaks)
}

// checkAddr refuses, before anything is sent, whatever is not a literal
// loopback address or localhost, unless remote servers are allowed.
func checkAddr(addr string, allowRemote bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); allowRemote || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not a loopback address (see -allow-remote)", addr)
}

func dial(o *options) (*conn, error) {
	if err := checkAddr(o.addr, o.allowRemote); err != nil {
		return nil, err
	}
	nc, err := net.DialTimeout("tcp", o.addr, 2*time.Minute)
	if err != nil {
		return nil, err
	}
	tc := nc.(*net.TCPConn)
	fr, err := newFrames(tc, 128<<10)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: tc, fr: fr, opt: o, creditGoal: 128}
	c.credits.Store(1)
	c.out = make([]byte, 0, 64<<10)
	c.nc.SetDeadline(time.Now().Add(2 * time.Minute))
	for _, step := range []struct {
		name string
		do   func() error
	}{{"negotiate", c.negotiate}, {"session setup", c.sessionSetup}, {"tree connect", c.treeConnect}} {
		if err := step.do(); err != nil {
			nc.Close()
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	c.nc.SetDeadline(time.Time{})
	return c, nil
}

// ask returns the CreditRequest for a message that costs charge: what it costs
// plus whatever the connection is short of its goal.
func (c *conn) ask(charge int) uint16 {
	want := int64(charge)
	if short := c.creditGoal - c.credits.Load() - c.inflight.Load(); short > 0 {
		want += short
	}
	return uint16(min(want, 8192))
}

// finish signs or leaves alone msg (laid out after 4 bytes of NBT room) and
// appends its frame to c.out.
func (c *conn) finish(frame []byte, plain bool) {
	msg := frame[4:]
	if c.encrypt && !plain {
		c.out = c.seal.append(c.out, msg)
		return
	}
	c.finishPlain(frame)
	c.out = append(c.out, frame...)
}

func (c *conn) finishPlain(frame []byte) {
	msg := frame[4:]
	if c.signing {
		c.signOut.sign(msg)
	}
	n := len(msg)
	frame[0], frame[1], frame[2], frame[3] = 0, byte(n>>16), byte(n>>8), byte(n)
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// recv returns the next frame decrypted; trusted says that it was.
func (c *conn) recv() (msg []byte, full int, trusted bool, err error) {
	f, full, err := c.fr.next()
	if err != nil {
		return nil, 0, false, err
	}
	switch le.Uint32(f) {
	case 0x424d53fe:
		return f, full, false, nil
	case 0x424d53fd:
		if c.aeadIn == nil {
			return nil, 0, false, errors.New("encrypted message on a connection without keys")
		}
		m, err := open(c.aeadIn, c.session, f)
		if err == nil && (len(m) < 64 || le.Uint32(m) != 0x424d53fe) {
			err = errors.New("bad message inside an encrypted frame")
		}
		return m, len(m), true, err
	}
	return nil, 0, false, fmt.Errorf("unknown protocol id % x", f[:4])
}

// check takes one response message of a frame: it verifies what security
// demands and books its credits. final is false for an interim response and
// for unsolicited messages.
func (c *conn) check(msg []byte, trusted bool) (final bool, err error) {
	if le.Uint32(msg[16:])&flagResponse == 0 {
		return false, errors.New("message without the response flag")
	}
	id, status := le.Uint64(msg[24:]), le.Uint32(msg[8:])
	if id == ^uint64(0) {
		c.stray.Add(1)
		return false, nil
	}
	pending := status == statusPending && le.Uint32(msg[16:])&flagAsync != 0
	if !trusted && c.encrypt {
		return false, fmt.Errorf("plain response to an encrypted request (%s)", ntStatus(status))
	}
	if !trusted && c.signing && !pending {
		if le.Uint32(msg[16:])&flagSigned == 0 {
			return false, fmt.Errorf("response not signed (command %d, %s)", le.Uint16(msg[12:]), ntStatus(status))
		}
		if !c.signIn.verify(msg) {
			return false, fmt.Errorf("bad signature (command %d, %s)", le.Uint16(msg[12:]), ntStatus(status))
		}
	}
	c.credits.Add(int64(le.Uint16(msg[14:])))
	if pending {
		c.interim.Add(1)
		return false, nil
	}
	return true, nil
}

// call sends one request and waits for its final response.
// body writes the request body and returns its length.
func (c *conn) call(cmd uint16, bodyMax, charge int, body func([]byte) int) (uint32, []byte, error) {
	return c.callHash(cmd, bodyMax, charge, false, body)
}

func (c *conn) callHash(cmd uint16, bodyMax, charge int, hashed bool, body func([]byte) int) (uint32, []byte, error) {
	frame := make([]byte, 4+64+bodyMax)
	n := body(frame[68:])
	frame = frame[:68+n]
	if c.credits.Load() < int64(charge) {
		return 0, nil, fmt.Errorf("server left %d credits, %d needed", c.credits.Load(), charge)
	}
	id := c.msgID
	c.msgID += uint64(max(charge, 1))
	c.credits.Add(-int64(charge))
	cc := uint16(charge)
	if c.dialect < dialect210 {
		cc = 0
	}
	putHeader(frame[4:], cmd, cc, c.ask(charge), id, c.tree, c.session)
	if cmd == cmdTreeConnect && !c.encrypt && !c.signing && c.dialect == dialect311 && c.signOut != nil {
		c.signOut.sign(frame[4:]) // 3.1.1: always signed if not encrypted
	}
	if hashed {
		c.extendPreauth(frame[4:])
	}
	c.finish(frame, false)
	if err := c.flush(); err != nil {
		return 0, nil, err
	}
	for {
		msg, _, trusted, err := c.recv()
		if err != nil {
			return 0, nil, err
		}
		final, err := c.check(msg, trusted)
		if err != nil {
			return 0, nil, err
		}
		if !final {
			continue
		}
		if got := le.Uint64(msg[24:]); got != id {
			return 0, nil, fmt.Errorf("response to message %d, expected %d", got, id)
		}
		return le.Uint32(msg[8:]), msg, nil
	}
}

func (c *conn) extendPreauth(msg []byte) {
	if c.dialect != 0 && c.dialect != dialect311 {
		return
	}
	h := sha512.New()
	h.Write(c.preauth[:])
	h.Write(msg)
	h.Sum(c.preauth[:0])
}

func (c *conn) negotiate() error {
	o := c.opt
	var dialects []uint16
	for _, d := range []uint16{dialect210, dialect300, dialect302, dialect311} {
		if d <= o.maxDialect {
			dialects = append(dialects, d)
		}
	}
	var guid [16]byte
	rand.Read(guid[:])
	if o.sameGUID {
		guid = o.guid
	}
	st, msg, err := c.callHash(cmdNegotiate, 512, 1, true, func(b []byte) int {
		le.PutUint16(b[0:], 36)
		le.PutUint16(b[2:], uint16(len(dialects)))
		b[4] = 1 // signing enabled
		if o.security == "sign" {
			b[4] = 3
		}
		le.PutUint32(b[8:], capLargeMTU|capEncryption)
		copy(b[12:28], guid[:])
		n := 36
		for _, d := range dialects {
			le.PutUint16(b[n:], d)
			n += 2
		}
		if o.maxDialect < dialect311 {
			return n
		}
		var ctxs [][]byte
		ctx := func(typ uint16, data []byte) {
			v := make([]byte, 8, 8+len(data))
			le.PutUint16(v, typ)
			le.PutUint16(v[2:], uint16(len(data)))
			ctxs = append(ctxs, append(v, data...))
		}
		salt := make([]byte, 6+32)
		salt[0], salt[2], salt[4] = 1, 32, 1 // one algorithm, salt length, SHA-512
		rand.Read(salt[6:])
		ctx(1, salt)
		list := func(ids []uint16) []byte {
			v := le.AppendUint16(nil, uint16(len(ids)))
			for _, i := range ids {
				v = le.AppendUint16(v, i)
			}
			return v
		}
		ctx(2, list(o.ciphers))
		ctx(8, list(o.signAlgs))
		for (64+n)%8 != 0 {
			n++
		}
		le.PutUint32(b[28:], uint32(64+n))
		le.PutUint16(b[32:], uint16(len(ctxs)))
		for i, v := range ctxs {
			n += copy(b[n:], v)
			for i < len(ctxs)-1 && (64+n)%8 != 0 {
				n++
			}
		}
		return n
	})
	if err != nil {
		return err
	}
	if st != statusSuccess {
		return errors.New(ntStatus(st))
	}
	if len(msg) < 64+64 {
		return errors.New("short response")
	}
	b := msg[64:]
	c.secMode = le.Uint16(b[2:])
	c.dialect = le.Uint16(b[4:])
	c.caps = le.Uint32(b[24:])
	c.maxTrans = int(le.Uint32(b[28:]))
	c.maxRead = int(le.Uint32(b[32:]))
	c.maxWrite = int(le.Uint32(b[36:]))
	if !slices.Contains(dialects, c.dialect) {
		return fmt.Errorf("server chose dialect %#x, which was not offered", c.dialect)
	}
	if c.caps&capLargeMTU == 0 {
		c.maxRead, c.maxWrite, c.maxTrans = min(c.maxRead, 65536), min(c.maxWrite, 65536), min(c.maxTrans, 65536)
	}
	switch {
	case c.dialect < dialect300:
		c.signAlg = signHMACSHA256
	default:
		c.signAlg = signAESCMAC
	}
	if c.dialect == dialect311 {
		if err := c.negotiateContexts(msg); err != nil {
			return err
		}
	}
	c.extendPreauth(msg)
	return nil
}

func (c *conn) negotiateContexts(msg []byte) error {
	at, count := int(le.Uint32(msg[64+60:])), int(le.Uint16(msg[64+6:]))
	bad := errors.New("bad negotiate contexts")
	preauth := false
	for i := range count {
		if i > 0 {
			at = (at + 7) &^ 7
		}
		if at < 128 || at+8 > len(msg) {
			return bad
		}
		typ, n := le.Uint16(msg[at:]), int(le.Uint16(msg[at+2:]))
		if at+8+n > len(msg) {
			return bad
		}
		d := msg[at+8 : at+8+n]
		at += 8 + n
		switch typ {
		case 1:
			if n < 6 || le.Uint16(d) != 1 || le.Uint16(d[4:]) != 1 {
				return errors.New("server did not choose SHA-512 for preauth integrity")
			}
			preauth = true
		case 2:
			if n < 4 {
				return bad
			}
			c.cipherID = le.Uint16(d[2:])
			if c.cipherID != 0 && !slices.Contains(c.opt.ciphers, c.cipherID) {
				return fmt.Errorf("server chose cipher %d, which was not offered", c.cipherID)
			}
		case 8:
			if n < 4 {
				return bad
			}
			c.signAlg = le.Uint16(d[2:])
			if !slices.Contains(c.opt.signAlgs, c.signAlg) {
				return fmt.Errorf("server chose signing algorithm %d, which was not offered", c.signAlg)
			}
		}
	}
	if !preauth {
		return errors.New("no preauth integrity context from the server")
	}
	return nil
}

func (c *conn) sessionSetup() error {
	o := c.opt
	nt := &ntlmClient{user: o.user, domain: o.domain, password: o.password}
	send := func(token []byte) (uint32, []byte, error) {
		return c.callHash(cmdSessionSetup, 24+len(token), 1, true, func(b []byte) int {
			le.PutUint16(b, 25)
			b[3] = 1
			if o.security == "sign" {
				b[3] = 2
			}
			le.PutUint16(b[12:], 64+24)
			le.PutUint16(b[14:], uint16(len(token)))
			return 24 + copy(b[24:], token)
		})
	}
	secBuf := func(msg []byte) ([]byte, error) {
		if len(msg) < 72 {
			return nil, errors.New("short response")
		}
		off, n := int(le.Uint16(msg[68:])), int(le.Uint16(msg[70:]))
		if off+n > len(msg) {
			return nil, errors.New("security buffer outside the message")
		}
		return msg[off : off+n], nil
	}
	st, msg, err := send(spnegoInit(nt.negotiate()))
	if err != nil {
		return err
	}
	if st != statusMoreProcessing {
		return errors.New(ntStatus(st))
	}
	c.extendPreauth(msg)
	c.session = le.Uint64(msg[40:])
	buf, err := secBuf(msg)
	if err != nil {
		return err
	}
	chal, err := spnegoToken(buf)
	if err != nil {
		return err
	}
	auth, err := nt.authenticate(chal)
	if err != nil {
		return err
	}
	st, msg, err = send(spnegoResp(auth, nt.mic(mechTypes())))
	if err != nil {
		return err
	}
	if st != statusSuccess {
		return errors.New(ntStatus(st))
	}
	if len(msg) < 72 {
		return errors.New("short response")
	}
	flags := le.Uint16(msg[66:])
	if flags&3 != 0 {
		if o.security != "none" {
			return errors.New("server made this a guest or anonymous session: neither signing nor encryption")
		}
		return nil
	}
	k := deriveKeys(c.dialect, nt.key, c.preauth[:], c.cipherID)
	if c.signOut, err = newSigner(c.signAlg, k.signing); err != nil {
		return err
	}
	if c.signIn, err = newSigner(c.signAlg, k.signing); err != nil {
		return err
	}
	if le.Uint32(msg[16:])&flagSigned != 0 {
		if !c.signIn.verify(msg) {
			return errors.New("bad signature on the final SESSION_SETUP response")
		}
	} else if c.dialect == dialect311 {
		return errors.New("final SESSION_SETUP response is not signed")
	}
	if gcm := c.cipherID == cipherAES128GCM || c.cipherID == cipherAES256GCM; gcm {
		c.seal = &sealer{session: c.session}
		rand.Read(c.seal.salt[:])
		if c.seal.aead, err = newGCM(k.c2s); err != nil {
			return err
		}
		if c.aeadIn, err = newGCM(k.s2c); err != nil {
			return err
		}
	}
	c.signing = o.security == "sign" || c.secMode&2 != 0
	if o.security == "encrypt" || flags&4 != 0 {
		return c.startEncryption()
	}
	return nil
}

func (c *conn) startEncryption() error {
	if c.seal == nil {
		return fmt.Errorf("encryption needs SMB 3.1.1 with AES-GCM; negotiated dialect %#x, cipher %d", c.dialect, c.cipherID)
	}
	c.encrypt, c.signing = true, false
	return nil
}

func (c *conn) treeConnect() error {
	host, _, err := net.SplitHostPort(c.opt.addr)
	if err != nil {
		return err
	}
	path := utf16le(`\\` + host + `\` + c.opt.share)
	st, msg, err := c.call(cmdTreeConnect, 8+len(path), 1, func(b []byte) int {
		le.PutUint16(b, 9)
		le.PutUint16(b[4:], 64+8)
		le.PutUint16(b[6:], uint16(len(path)))
		return 8 + copy(b[8:], path)
	})
	if err != nil {
		return err
	}
	if st != statusSuccess {
		return errors.New(ntStatus(st))
	}
	if len(msg) < 64+16 {
		return errors.New("short response")
	}
	c.tree = le.Uint32(msg[36:])
	if le.Uint32(msg[64+4:])&0x8000 != 0 && !c.encrypt {
		return c.startEncryption()
	}
	return nil
}

// mode names the security actually in force.
func (c *conn) mode() string {
	switch {
	case c.encrypt:
		return "encrypt:" + map[uint16]string{cipherAES128GCM: "AES-128-GCM", cipherAES256GCM: "AES-256-GCM"}[c.cipherID]
	case c.signing:
		return "sign:" + map[uint16]string{signHMACSHA256: "HMAC-SHA256", signAESCMAC: "AES-CMAC", signAESGMAC: "AES-GMAC"}[c.signAlg]
	}
	return "none"
}

// gather asks for credits with ECHOs until the goal is met or no more come.
func (c *conn) gather(goal int64) error {
	c.creditGoal = goal
	for range 64 {
		had := c.credits.Load()
		if had >= goal {
			return nil
		}
		if st, _, err := c.call(cmdEcho, 4, 1, putEcho); err != nil {
			return err
		} else if st != 0 {
			return fmt.Errorf("ECHO: %s", ntStatus(st))
		}
		if c.credits.Load() <= had {
			return nil
		}
	}
	return nil
}
