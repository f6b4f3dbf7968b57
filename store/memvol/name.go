package memvol

import (
	"fmt"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/store"
	"gabion/store/upcase"
)

// fold is what names are compared by.
func fold(name string) string { return upcase.Default().Key(name) }

// checkName refuses what no entry may be called. What Windows forbids
// beyond this is the server's business.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..", dtyp.UTF16Len(name) > store.MaxNameLen,
		strings.ContainsAny(name, "\x00/\\"):
		return fmt.Errorf("%w: %q", store.ErrName, name)
	}
	return nil
}
