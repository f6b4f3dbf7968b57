package qos

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/server/qos/mclock"
	"gabion/store"
)

// Kind says who shares a policy's numbers.
type Kind uint8

const (
	// Dedicated: each virtual machine has the numbers for itself; its disks share them.
	Dedicated Kind = iota
	// Aggregated: all flows of the policy, wherever they are, share the numbers.
	Aggregated
)

func (k Kind) String() string { return [...]string{"dedicated", "aggregated"}[k] }

// ParseKind reads a kind's name.
func ParseKind(s string) (Kind, error) {
	for _, k := range []Kind{Dedicated, Aggregated} {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%q is neither dedicated nor aggregated", s)
}

func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k *Kind) UnmarshalText(b []byte) (err error) {
	*k, err = ParseKind(string(b))
	return err
}

// Numbers are what a policy promises and allows; 0 is none.
type Numbers struct {
	Minimum   uint64 `json:"minimum_iops"`      // normalised I/O per second
	Maximum   uint64 `json:"maximum_iops"`      // normalised I/O per second
	Bandwidth uint64 `json:"maximum_bandwidth"` // KiB per second
	Weight    uint32 `json:"weight"`            // of what is left, 1 to 1000
}

// Policy is a Storage QoS policy.
type Policy struct {
	ID   dtyp.GUID `json:"-"`
	Name string    `json:"name"`
	Kind Kind      `json:"type"`
	Numbers
}

// maxNumber bounds rates, as Windows does: [MS-SQOS] note 8.
const maxNumber = 1_000_000_000

// maxPolicies is what Windows keeps in a cluster.
const maxPolicies = 10_000

var (
	ErrNoPolicy     = errors.New("there is no such policy")
	ErrPolicyExists = errors.New("there is a policy of this id or name already")
	ErrPolicy       = errors.New("these numbers cannot be a policy's")
)

// validate checks the numbers together.
func (p *Policy) validate() error {
	switch n := &p.Numbers; {
	case p.ID.IsZero():
		return fmt.Errorf("%w: the id is zero", ErrPolicy)
	case p.Name == "" || len(p.Name) > 255 || strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("%w: a name has 1 to 255 printable characters", ErrPolicy)
	case n.Minimum > maxNumber || n.Maximum > maxNumber || n.Bandwidth > maxNumber:
		return fmt.Errorf("%w: a number above %d", ErrPolicy, maxNumber)
	case n.Maximum > 0 && n.Minimum > n.Maximum:
		return fmt.Errorf("%w: minimum %d is above maximum %d", ErrPolicy, n.Minimum, n.Maximum)
	case n.Weight > mclock.MaxWeight:
		return fmt.Errorf("%w: weight %d is above %d", ErrPolicy, n.Weight, mclock.MaxWeight)
	}
	return nil
}

func (n *Numbers) rates() mclock.Rates {
	return mclock.Rates{Reservation: n.Minimum, Limit: n.Maximum, Bandwidth: n.Bandwidth << 10, Weight: n.Weight}
}

// policyBucket holds the policies in the volume's side store, by id.
const policyBucket = "qos-policies"

func (p *Policy) edit() (store.KVEdit, error) {
	value, err := json.Marshal(p)
	return store.KVEdit{Bucket: policyBucket, Key: p.ID.String(), Value: value}, err
}

// loadPolicies reads the policies of a volume.
func loadPolicies(vol store.Volume) (map[dtyp.GUID]*Policy, error) {
	all := map[dtyp.GUID]*Policy{}
	var bad error
	err := vol.KV().Scan(policyBucket, "", func(key string, value []byte) bool {
		p := new(Policy)
		if bad = json.Unmarshal(value, p); bad == nil {
			p.ID, bad = dtyp.ParseGUID(key)
		}
		if bad != nil {
			bad = fmt.Errorf("policy %s: %w", key, bad)
			return false
		}
		all[p.ID] = p
		return true
	})
	return all, errors.Join(err, bad)
}

// Policies lists the policies by name.
func (s *Service) Policies() []Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Policy, 0, len(s.policies))
	for _, p := range s.policies {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// FindPolicy finds a policy by its name or the text of its id.
func (s *Service) FindPolicy(text string) (Policy, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, err := dtyp.ParseGUID(text); err == nil && s.policies[id] != nil {
		return *s.policies[id], nil
	}
	for _, p := range s.policies {
		if strings.EqualFold(p.Name, text) {
			return *p, nil
		}
	}
	return Policy{}, fmt.Errorf("%w: %s", ErrNoPolicy, text)
}

// AddPolicy makes a policy; without an id it gets one. It is durable on return.
func (s *Service) AddPolicy(p Policy) (Policy, error) {
	if p.ID.IsZero() {
		p.ID = dtyp.NewGUID()
	}
	if p.Weight == 0 {
		p.Weight = mclock.DefaultWeight
	}
	if err := p.validate(); err != nil {
		return p, err
	}
	return p, s.editPolicies(p.ID, func() (*Policy, error) {
		if s.policies[p.ID] != nil {
			return nil, ErrPolicyExists
		}
		if len(s.policies) >= maxPolicies {
			return nil, fmt.Errorf("%w: more than %d", ErrPolicy, maxPolicies)
		}
		for _, other := range s.policies {
			if strings.EqualFold(other.Name, p.Name) {
				return nil, ErrPolicyExists
			}
		}
		return &p, nil
	})
}

// ChangePolicy gives a policy other numbers; they count at once. Its kind is for life.
func (s *Service) ChangePolicy(id dtyp.GUID, change func(*Numbers)) (p Policy, err error) {
	err = s.editPolicies(id, func() (*Policy, error) {
		old := s.policies[id]
		if old == nil {
			return nil, ErrNoPolicy
		}
		p = *old
		change(&p.Numbers)
		return &p, p.validate()
	})
	return p, err
}

// DeletePolicy removes a policy. Flows that use it run on without, and say so in their status.
func (s *Service) DeletePolicy(id dtyp.GUID) error {
	return s.editPolicies(id, func() (*Policy, error) {
		if s.policies[id] == nil {
			return nil, ErrNoPolicy
		}
		return nil, nil
	})
}

// editPolicies stores what decide makes of a policy, nil to delete it, and lets it count.
func (s *Service) editPolicies(id dtyp.GUID, decide func() (*Policy, error)) error {
	s.editing.Lock()
	defer s.editing.Unlock()
	s.mu.Lock()
	p, err := decide()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	edit := store.KVEdit{Bucket: policyBucket, Key: id.String()}
	if p != nil {
		if edit, err = p.edit(); err != nil {
			return err
		}
	}
	pos, err := s.vol.KV().Apply([]store.KVEdit{edit})
	if err == nil {
		err = s.vol.Wait(pos)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil {
		delete(s.policies, id)
	} else {
		s.policies[id] = p
	}
	for _, f := range s.flows {
		if f.Policy == id {
			s.classify(f)
		}
	}
	return nil
}
