package admin

import (
	"errors"
	"net/http"
	"strings"

	"gabion/auth"
	"gabion/server/vm"
)

// held are the caller's roles at a scope.
func (c *Caller) held(at auth.Scope) auth.RoleSet {
	if c.Held == nil {
		return 0
	}
	return c.Held(at)
}

// authorise checks the caller's roles: where the operation is delegated, those at
// its targets, and a vm-operator there may call it too; otherwise the array's.
func (s *System) authorise(op *Operation, c *Call) error {
	if c.Caller.Held == nil {
		return Errorf(http.StatusForbidden, "%s needs the role %v", op.Name, op.Role)
	}
	if op.Scoped || c.Caller.held(auth.Array).Has(op.Role) {
		return nil
	}
	targets := 0
	for _, name := range strings.Fields(op.Delegated) {
		if c.Str(name) == "" {
			continue
		}
		targets++
		t, err := s.Machines.Parse(c.Str(name))
		if errors.Is(err, vm.ErrMalformed) {
			return Errorf(http.StatusBadRequest, "%v", err)
		}
		// What is not there and what was not granted look alike.
		if err != nil || !s.may(c, t) {
			return Errorf(http.StatusForbidden, "%s needs the role %v on %v", op.Name, op.Role, c.Str(name))
		}
	}
	if targets == 0 {
		return Errorf(http.StatusForbidden, "%s needs the role %v on %v", op.Name, op.Role, auth.Array)
	}
	return nil
}

// holds reports whether the caller may call the operation at a scope.
func (c *Call) holds(at auth.Scope) bool {
	held := c.Caller.held(at)
	return held.Has(c.op.Role) || c.op.forOperators() && held.Has(auth.RoleVMOperator)
}

// forOperators reports whether a vm-operator of its targets may call the operation: to
// snapshot, clone and restore, and to see what there is for that; not to carry data in or out.
func (op *Operation) forOperators() bool {
	if op.Sends || op.Takes {
		return false
	}
	return op.Delegated != "" || op.Scoped && !op.Mutates
}

// may reports whether the caller may call the operation on all of a target.
func (s *System) may(c *Call, t *vm.Target) bool { return s.Machines.Allowed(t, c.holds) }

// resolve finds a target as it is now.
func (s *System) resolve(text string) (*vm.Target, error) {
	t, err := s.Machines.Resolve(text)
	return t, targetRefusal(err)
}

// parse finds a target that need not be there any more.
func (s *System) parse(text string) (*vm.Target, error) {
	t, err := s.Machines.Parse(text)
	return t, targetRefusal(err)
}

func targetRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vm.ErrUnknown):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, vm.ErrExists), errors.Is(err, vm.ErrAmbiguous):
		return Errorf(http.StatusConflict, "%v", err)
	case errors.Is(err, vm.ErrMalformed):
		return Errorf(http.StatusBadRequest, "%v", err)
	}
	return err
}
