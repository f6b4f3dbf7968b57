package client

import (
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntlm"
	"gabion/protocol/spnego"
)

// Authenticator makes the tokens of SESSION_SETUP. Step gets the server's last token,
// nil at first, and returns the next one. Key is asked for when the server is
// content.
type Authenticator interface {
	Step(token []byte) ([]byte, error)
	Key() []byte
}

// Mutual is an Authenticator that has a use for the server's last token, before Key.
type Mutual interface {
	Finish(token []byte) error
}

// Credentials is what NTLMv2 needs; a zero value logs on anonymously.
type Credentials struct {
	User, Domain, Password string
	Workstation            string
	// Raw sends NTLMSSP without SPNEGO around it.
	Raw bool
	// NoMIC leaves out the message integrity code and mechListMIC.
	NoMIC bool
}

const ntlmFlags = ntlm.FlagUnicode | ntlm.FlagRequestTarget | ntlm.FlagSign | ntlm.FlagSeal | ntlm.FlagNTLM | ntlm.FlagAlwaysSign |
	ntlm.FlagExtendedSession | ntlm.FlagTargetInfo | ntlm.FlagVersion | ntlm.Flag128 | ntlm.FlagKeyExchange | ntlm.Flag56

// NTLM returns the Authenticator of credentials.
func NTLM(c Credentials) Authenticator { return &ntlmAuth{c: c} }

// ntlmAuth is negotiate ─▶ authenticate ─▶ done.
type ntlmAuth struct {
	c         Credentials
	negotiate []byte
	key       [16]byte
	steps     int
	mechList  []byte
}

func (a *ntlmAuth) Key() []byte { return a.key[:] }

func (a *ntlmAuth) Step(token []byte) ([]byte, error) {
	a.steps++
	if a.steps == 1 {
		a.negotiate = (&ntlm.Negotiate{Flags: ntlmFlags}).Encode()
		if a.c.Raw {
			return a.negotiate, nil
		}
		mechs := []asn1.ObjectIdentifier{spnego.NTLMSSP}
		a.mechList = spnego.EncodeMechList(mechs)
		return (&spnego.Init{Mechs: mechs, Token: a.negotiate}).Append(nil), nil
	}
	if a.steps > 2 {
		return nil, errors.New("client: NTLM has no third message")
	}
	challenge := token
	if !a.c.Raw {
		r, err := spnego.DecodeResp(token)
		if err != nil {
			return nil, err
		}
		challenge = r.Token
	}
	msg, flags, err := a.authenticate(challenge)
	if err != nil || a.c.Raw {
		return msg, err
	}
	resp := spnego.Resp{State: spnego.NoState, Token: msg}
	if !a.c.NoMIC && a.c.User != "" {
		mic := ntlm.NewSecurity(flags, a.key, true).Sign(a.mechList)
		resp.MIC = mic[:]
	}
	return resp.Append(nil), nil
}

// authenticate builds AUTHENTICATE ([MS-NLMP] 3.1.5.1.2).
func (a *ntlmAuth) authenticate(challenge []byte) (msg []byte, flags uint32, err error) {
	ch, err := ntlm.DecodeChallenge(challenge)
	if err != nil {
		return nil, 0, err
	}
	flags = ch.Flags & ntlmFlags
	m := ntlm.Authenticate{Flags: flags, Domain: a.c.Domain, User: a.c.User, Workstation: a.c.Workstation}
	if a.c.User == "" {
		m.Flags |= ntlm.FlagAnonymous
		m.LMResponse = []byte{0}
		return m.Encode(), flags, nil
	}
	info, now := a.targetInfo(ch.TargetInfo)
	var nonce [8]byte
	_, _ = rand.Read(nonce[:])
	response, base := ntlm.Respond(ntlm.HashPassword(a.c.Password), a.c.User, a.c.Domain, ch.ServerChallenge, nonce, now, info)
	m.NTResponse = response
	m.LMResponse = make([]byte, 24)
	a.key = base
	if flags&ntlm.FlagKeyExchange != 0 {
		_, _ = rand.Read(a.key[:])
		sealed := ntlm.EncryptKey(base, a.key)
		m.SessionKey = sealed[:]
	}
	msg = m.Encode()
	if !a.c.NoMIC {
		ntlm.SetMIC(msg, ntlm.MIC(a.key, a.negotiate, challenge, msg))
	}
	return msg, flags, nil
}

// targetInfo adds to the server's AV pairs that a MIC follows, and takes its time.
func (a *ntlmAuth) targetInfo(list []byte) ([]byte, dtyp.Filetime) {
	now := dtyp.FiletimeOf(time.Now())
	if t, err := ntlm.FindAv(list, ntlm.AvTimestamp); err == nil && len(t) == 8 {
		now = 0
		for i := 7; i >= 0; i-- {
			now = now<<8 | dtyp.Filetime(t[i])
		}
	}
	if a.c.NoMIC || len(list) < 4 {
		return list, now
	}
	// The new pair stands before the end mark, the last four bytes.
	var mic ntlm.TargetInfo
	mic.Add(ntlm.AvFlags, []byte{ntlm.AvFlagMIC, 0, 0, 0})
	return append(list[:len(list)-4:len(list)-4], mic.Bytes()...), now
}
