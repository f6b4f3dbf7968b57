package fsrvp

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// Request has the parameters of any method; each uses those that MS-FSRVP 3.1.4 gives it.
type Request struct {
	Context   Context   // SetContext
	ClientID  dtyp.GUID // Start: of the set; Add: of the copy
	SetID     dtyp.GUID
	CopyID    dtyp.GUID
	ShareName string
	TimeoutMS uint32 // Prepare, Commit, Expose
	Level     uint32 // GetShareMapping
}

// fields are a method's parameters in the order of its declaration.
var fields = map[uint16][]func(coder, *Request){
	OpGetSupportedVersion:           {},
	OpSetContext:                    {context},
	OpStartShadowCopySet:            {clientID},
	OpAddToShadowCopySet:            {clientID, setID, shareName},
	OpCommitShadowCopySet:           {setID, timeout},
	OpExposeShadowCopySet:           {setID, timeout},
	OpRecoveryCompleteShadowCopySet: {setID},
	OpAbortShadowCopySet:            {setID},
	OpIsPathSupported:               {shareName},
	OpIsPathShadowCopied:            {shareName},
	OpGetShareMapping:               {copyID, setID, shareName, level},
	OpDeleteShareMapping:            {setID, copyID, shareName}, // the other order, indeed
	OpPrepareShadowCopySet:          {setID, timeout},
}

// coder reads or writes one parameter.
type coder interface {
	guid(*dtyp.GUID)
	uint32(*uint32)
	string(*string)
}

func context(c coder, q *Request)   { c.uint32((*uint32)(&q.Context)) }
func clientID(c coder, q *Request)  { c.guid(&q.ClientID) }
func setID(c coder, q *Request)     { c.guid(&q.SetID) }
func copyID(c coder, q *Request)    { c.guid(&q.CopyID) }
func shareName(c coder, q *Request) { c.string(&q.ShareName) }
func timeout(c coder, q *Request)   { c.uint32(&q.TimeoutMS) }
func level(c coder, q *Request)     { c.uint32(&q.Level) }

type decoder struct{ *dcerpc.Reader }

func (d decoder) guid(g *dtyp.GUID) { *g = d.GUID() }
func (d decoder) uint32(v *uint32)  { *v = d.Uint32() }
func (d decoder) string(s *string)  { *s = d.String() }

type encoder struct{ *dcerpc.Writer }

func (e encoder) guid(g *dtyp.GUID) { e.GUID(*g) }
func (e encoder) uint32(v *uint32)  { e.Uint32(*v) }
func (e encoder) string(s *string)  { e.String(*s) }

// DecodeRequest reads the stub of a request; ok is false when there is no such method.
func DecodeRequest(op uint16, stub dcerpc.Stub) (q Request, ok bool, err error) {
	list, ok := fields[op]
	r := stub.Reader()
	for _, f := range list {
		f(decoder{r}, &q)
	}
	return q, ok, r.Err()
}

// AppendTo encodes the request of a method, for clients.
func (q *Request) AppendTo(op uint16, b []byte) []byte {
	var w dcerpc.Writer
	for _, f := range fields[op] {
		f(encoder{&w}, q)
	}
	return append(b, w.Bytes()...)
}
