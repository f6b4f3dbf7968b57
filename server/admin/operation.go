package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"gabion/auth"
)

// Operation is one row of the table: everything that is known about one thing an
// administrator can do.
type Operation struct {
	Name   string    // the words on the command line, "share add"
	Method string    // HTTP method
	Path   string    // http.ServeMux path; {wildcards} are parameters
	Role   auth.Role // least role that may call it
	// Delegated names the parameters whose values, SHARE, SHARE/PATH, vm:NAME or group:NAME,
	// are what the operation is about: roles on those are enough, and unless it carries data in
	// or out a vm-operator may call it there. Empty: the role must be held on the array.
	Delegated string
	// Scoped operations are open to who holds a role anywhere: the handler shows and does
	// what System.may allows, no more.
	Scoped  bool
	Mutates bool   // audited, and refused to read-only callers
	Live    bool   // the command line shows it again and again
	Summary string // one line, a sentence without a full stop
	Example string // a command line that works
	Params  []Param
	// Sends says that the answer is a stream, written to Call.Out; Takes that the body is one,
	// read from Call.Body. Parameters are in the query then.
	Sends, Takes bool
	Run          func(ctx context.Context, s *System, c *Call) (any, error)
}

// Param is one parameter of an operation. Positional ones become arguments of
// the verb in their order, the others flags.
type Param struct {
	Name       string
	Kind       Kind
	Help       string
	Positional bool
	Required   bool
	// Secret values are never logged; the command line reads them from a file
	// or a prompt instead of its arguments.
	Secret bool
}

// Kind is a parameter's type.
type Kind uint8

const (
	String Kind = iota
	Bool
	Number
	List // of strings, a flag that may be repeated
)

func (k Kind) String() string {
	return [...]string{"string", "boolean", "integer", "array"}[k]
}

// Caller is who asks, as the listener established it.
type Caller struct {
	Name string
	From string // address, or "socket"
	// Held are the roles that the caller holds at a scope; nil: none anywhere.
	Held func(at auth.Scope) auth.RoleSet
}

// Call carries the checked parameters of one call.
type Call struct {
	Caller Caller
	Body   io.Reader // of an operation that takes a stream
	Out    *Output   // of an operation that sends one
	op     *Operation
	values map[string]any
}

// NewCall checks values against the operation's parameters: unknown names,
// missing required ones and wrong types are errors.
func NewCall(op *Operation, caller Caller, values map[string]any) (*Call, error) {
	c := &Call{Caller: caller, op: op, values: map[string]any{}}
	for name, v := range values {
		p := op.param(name)
		if p == nil {
			return nil, Errorf(http.StatusBadRequest, "unknown parameter %q", name)
		}
		checked, err := p.convert(v)
		if err != nil {
			return nil, err
		}
		c.values[name] = checked
	}
	for _, p := range op.Params {
		if _, ok := c.values[p.Name]; !ok && p.Required {
			return nil, Errorf(http.StatusBadRequest, "parameter %q is missing", p.Name)
		}
	}
	return c, nil
}

func (op *Operation) param(name string) *Param {
	for i := range op.Params {
		if op.Params[i].Name == name {
			return &op.Params[i]
		}
	}
	return nil
}

// convert accepts JSON's types and, for path and query values, their text form.
func (p *Param) convert(v any) (any, error) {
	bad := Errorf(http.StatusBadRequest, "parameter %q must be of type %v", p.Name, p.Kind)
	switch p.Kind {
	case String:
		if s, ok := v.(string); ok {
			return s, nil
		}
	case Bool:
		switch t := v.(type) {
		case bool:
			return t, nil
		case string:
			if b, err := strconv.ParseBool(t); err == nil {
				return b, nil
			}
		}
	case Number:
		switch t := v.(type) {
		case float64:
			if t == float64(int64(t)) {
				return int64(t), nil
			}
		case string:
			if n, err := strconv.ParseInt(t, 10, 64); err == nil {
				return n, nil
			}
		}
	case List:
		switch t := v.(type) {
		case []any:
			out := make([]string, len(t))
			for i, e := range t {
				s, ok := e.(string)
				if !ok {
					return nil, bad
				}
				out[i] = s
			}
			return out, nil
		case []string:
			return t, nil
		case string:
			return strings.Split(t, ","), nil
		}
	}
	return nil, bad
}

// Str returns a string parameter, "" when absent.
func (c *Call) Str(name string) string { s, _ := c.values[name].(string); return s }

// Bool returns a boolean parameter, false when absent.
func (c *Call) Bool(name string) bool { b, _ := c.values[name].(bool); return b }

// Int returns a number parameter, 0 when absent.
func (c *Call) Int(name string) int64 { n, _ := c.values[name].(int64); return n }

// Strs returns a list parameter.
func (c *Call) Strs(name string) []string { l, _ := c.values[name].([]string); return l }

// Has reports whether the caller gave the parameter.
func (c *Call) Has(name string) bool { _, ok := c.values[name]; return ok }

// Error is a failure the caller is to see, with its HTTP status.
type Error struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}
