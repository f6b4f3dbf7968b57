package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gabion/server/admin"
)

// generateCommand writes what is made of the table of operations: man pages, the OpenAPI description and
// the PowerShell module.
func generateCommand(root *cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use:   "generate",
		Short: "Write man pages, the OpenAPI description or the PowerShell module",
	}
	add := func(name, short string, files func() (map[string][]byte, error)) {
		g.AddCommand(&cobra.Command{
			Use: name + " DIR", Short: short, Example: "  gabion generate " + name + " ./" + name, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				made, err := files()
				if err != nil {
					return err
				}
				if err := os.MkdirAll(args[0], 0o755); err != nil {
					return err
				}
				for name, b := range made {
					if err := os.WriteFile(filepath.Join(args[0], name), b, 0o644); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	add("man", "Write a man page for every command", func() (map[string][]byte, error) { return manPages(root), nil })
	add("openapi", "Write the OpenAPI description of the HTTP API", func() (map[string][]byte, error) {
		b, err := describe("  ")
		return map[string][]byte{"openapi.json": b}, err
	})
	add("powershell", "Write the PowerShell module", func() (map[string][]byte, error) {
		b, err := describe("")
		if err != nil {
			return nil, err
		}
		return admin.PowerShell(b, version)
	})
	return g
}

func describe(indent string) ([]byte, error) {
	return json.MarshalIndent(admin.OpenAPI(admin.Operations()), "", indent)
}

// manPages makes a page of every command, from the same text as its --help.
func manPages(root *cobra.Command) map[string][]byte {
	pages := map[string][]byte{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() && c != root {
			return
		}
		pages[strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"] = manPage(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return pages
}

// roff is text as troff prints it.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %q 1 %q %q\n", strings.ToUpper(name), time.Now().UTC().Format("2006-01"), "Gabion "+version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s.\n", roff(c.Short))
	options(&b, "OPTIONS", c.NonInheritedFlags())
	options(&b, "OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n")
		for line := range strings.Lines(c.Example) {
			b.WriteString(roff(strings.TrimSpace(line)) + "\n")
		}
		b.WriteString(".fi\n")
	}
	var also []string
	if c.HasParent() {
		also = append(also, c.Parent().CommandPath())
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			also = append(also, sub.CommandPath())
		}
	}
	b.WriteString(".SH SEE ALSO\n")
	for i, a := range also {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, ".BR %s (1)", roff(strings.ReplaceAll(a, " ", "-")))
	}
	b.WriteString("\n")
	return b.Bytes()
}

func options(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	begun := false
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if !begun {
			fmt.Fprintf(b, ".SH %s\n", title)
			begun = true
		}
		kind, usage := pflag.UnquoteUsage(f)
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		fmt.Fprintf(b, ".TP\n.B %s %s\n%s\n", roff(names), roff(kind), roff(usage))
	})
}
