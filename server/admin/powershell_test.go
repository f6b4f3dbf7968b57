package admin

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The module is held against the description it was made of: a function for every operation, by a
// name that no other has and with an approved verb, with every parameter by its type, and the
// request that the description asks for. Its text nests and quotes as PowerShell wants.
func TestPowerShellModule(t *testing.T) {
	description, err := json.Marshal(OpenAPI(Operations()))
	if err != nil {
		t.Fatal(err)
	}
	files, err := PowerShell(description, "1.2.3-dev")
	if err != nil {
		t.Fatal(err)
	}
	text, manifest := string(files["Gabion.psm1"]), string(files["Gabion.psd1"])
	for name, s := range map[string]string{"module": text, "manifest": manifest} {
		if err := psNests(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	functions := map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^function `).Split(text, -1)[1:] {
		name, body, _ := strings.Cut(part, " ")
		if _, twice := functions[name]; twice {
			t.Errorf("two functions are called %s", name)
		}
		functions[name] = body
		if !strings.Contains(manifest, "'"+name+"'") && name != "Invoke-GabionRequest" {
			t.Errorf("%s is not exported", name)
		}
	}
	approved := strings.Fields("Get New Set Remove Revoke Grant Close Suspend Resume Lock Mount Compare Test Enable Disable Restore Sync Export Import Copy Invoke Resize Convert Connect")
	for name := range functions {
		verb, _, _ := strings.Cut(name, "-")
		if !slices.Contains(approved, verb) {
			t.Errorf("%s has no approved verb", name)
		}
	}
	for _, op := range Operations() {
		name := psName(strings.ReplaceAll(op.Name, " ", "_"))
		body, ok := functions[name]
		if !ok {
			t.Errorf("%s has no function %s", op.Name, name)
			continue
		}
		if want := fmt.Sprintf("-Method '%s' -Path '%s'", op.Method, op.Path); !strings.Contains(body, want) {
			t.Errorf("%s: no %s", name, want)
		}
		if op.Mutates != strings.Contains(body, "SupportsShouldProcess") {
			t.Errorf("%s: asks for confirmation %v", name, !op.Mutates)
		}
		for _, p := range op.Params {
			kind := [...]string{"string", "switch", "long", "string[]"}[p.Kind]
			if p.Secret {
				kind = "securestring"
			}
			line := regexp.MustCompile(`\[Parameter\(([^)]*)\)\]` + regexp.QuoteMeta("["+kind+"]$"+camel(p.Name)) + `\b`).FindStringSubmatch(body)
			if line == nil {
				t.Errorf("%s lacks [%s]$%s", name, kind, camel(p.Name))
				continue
			}
			inPath := strings.Contains(op.Path, "{"+p.Name+"}")
			if mandatory := strings.Contains(line[1], "Mandatory"); mandatory != (p.Required || inPath) {
				t.Errorf("%s: -%s mandatory: %v", name, camel(p.Name), mandatory)
			}
			to := "$values"
			if inPath {
				to = "$inPath"
			}
			if !strings.Contains(body, to+"['"+p.Name+"'] = ") {
				t.Errorf("%s: -%s does not go to %s", name, camel(p.Name), to)
			}
		}
	}
	if len(functions) != len(Operations())+2 {
		t.Errorf("%d functions for %d operations", len(functions), len(Operations()))
	}
	if _, err := PowerShell([]byte("no JSON"), "1"); err == nil {
		t.Error("a module of nonsense")
	}
}

// psNests checks that brackets and quotes of a PowerShell text close in their order.
func psNests(s string) error {
	var open []byte
	closes := map[byte]byte{')': '(', '}': '{', ']': '['}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "<#"):
			n := strings.Index(s[i:], "#>")
			if n < 0 {
				return fmt.Errorf("a comment at %d does not end", i)
			}
			i += n + 1
		case c == '#':
			i += strings.IndexByte(s[i:], '\n')
		case c == '\'' || c == '"':
			n := strings.IndexByte(s[i+1:], c)
			if n < 0 || strings.Contains(s[i+1:i+1+n], "\n") {
				return fmt.Errorf("a string at %d does not end", i)
			}
			i += n + 1
		case strings.IndexByte("({[", c) >= 0:
			open = append(open, c)
		case closes[c] != 0:
			if len(open) == 0 || open[len(open)-1] != closes[c] {
				return fmt.Errorf("%q at %d closes nothing", c, i)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d brackets are open", len(open))
	}
	return nil
}
