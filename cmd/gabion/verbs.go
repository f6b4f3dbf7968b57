package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gabion/server/admin"
)

// addVerbs makes a command of every row of the operations table.
func addVerbs(root *cobra.Command) {
	ops := admin.Operations()
	for i := range ops {
		op := &ops[i]
		words := strings.Fields(op.Name)
		parent := root
		for _, w := range words[:len(words)-1] {
			parent = group(parent, w)
		}
		parent.AddCommand(verb(op, words[len(words)-1]))
		for g := parent; g != root; g = g.Parent() {
			g.Short = verbsOf(g)
		}
	}
}

// verbsOf says what there is below a noun.
func verbsOf(g *cobra.Command) string {
	var words []string
	for _, c := range g.Commands() {
		words = append(words, c.Name())
	}
	return strings.Join(words, ", ")
}

// group finds or makes the command that holds a noun's verbs.
func group(parent *cobra.Command, word string) *cobra.Command {
	for _, c := range parent.Commands() {
		if c.Name() == word {
			return c
		}
	}
	g := &cobra.Command{
		Use: word,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q; see '%s --help'", args[0], c.CommandPath(), c.CommandPath())
			}
			return c.Help()
		},
	}
	parent.AddCommand(g)
	return g
}

func verb(op *admin.Operation, word string) *cobra.Command {
	use := word
	var positional []admin.Param
	for _, p := range op.Params {
		if p.Positional {
			positional = append(positional, p)
			if p.Required {
				use += " " + strings.ToUpper(p.Name)
			} else {
				use += " [" + strings.ToUpper(p.Name) + "]"
			}
		}
	}
	c := &cobra.Command{
		Use:     use,
		Short:   op.Summary,
		Example: "  " + op.Example,
		Args: func(c *cobra.Command, args []string) error {
			for i, p := range positional {
				if p.Required && i >= len(args) {
					return fmt.Errorf("%s is missing; see '%s --help'", strings.ToUpper(p.Name), c.CommandPath())
				}
			}
			if len(args) > len(positional) {
				return fmt.Errorf("unexpected argument %q; see '%s --help'", args[len(positional)], c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return call(c, op, positional, args) },
	}
	switch {
	case op.Sends:
		c.Flags().StringP("output", "o", "", "the file to write; without it standard output")
		c.Flags().Bool("continue", false, "go on with the stream in the output file from where it broke")
		c.Flags().Bool("progress", false, "show the progress also where standard error is no terminal")
	case op.Takes:
		c.Flags().StringP("input", "i", "", "the file to read; without it standard input")
		c.Flags().Bool("progress", false, "show the progress also where standard error is no terminal")
	}
	if !op.Sends {
		c.Flags().Bool("json", false, "print the result as JSON")
	}
	if op.Live {
		c.Flags().Duration("every", time.Second, "how often to show it anew; 0 shows it once, as output that is no terminal does by default")
	}
	for _, p := range op.Params {
		switch {
		case p.Positional:
		case p.Secret:
			c.Flags().String(p.Name+"-file", "", p.Help+"; a file of mode 0600, or - to be asked")
		case p.Kind == admin.Bool:
			c.Flags().Bool(p.Name, false, p.Help)
		case p.Kind == admin.Number:
			c.Flags().Int64(p.Name, 0, p.Help)
		case p.Kind == admin.List:
			c.Flags().StringArray(p.Name, nil, p.Help+" (may be repeated)")
		default:
			c.Flags().String(p.Name, "", p.Help)
		}
	}
	return c
}

func call(c *cobra.Command, op *admin.Operation, positional []admin.Param, args []string) error {
	values := map[string]any{}
	for i, p := range positional {
		if i < len(args) {
			values[p.Name] = args[i]
		}
	}
	for _, p := range op.Params {
		if p.Positional {
			continue
		}
		if err := flagValue(c, p, values); err != nil {
			return err
		}
	}
	client, err := dial(c)
	if err != nil {
		return err
	}
	if op.Sends {
		return receive(c, client, op, values)
	}
	show := printResult
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		show = indented
	} else if op.Live {
		show = printSections
	}
	if op.Live && (c.Flags().Changed("every") || isTerminal(c.OutOrStdout())) {
		if every, _ := c.Flags().GetDuration("every"); every > 0 {
			return live(c, client, op, values, every, show)
		}
	}
	var out json.RawMessage
	if op.Takes {
		out, err = send(c, client, op, values)
	} else {
		out, err = client.Do(c.Context(), op, values)
	}
	if err != nil {
		return err
	}
	return show(c.OutOrStdout(), out)
}

// isTerminal reports whether somebody may be looking.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// dial finds the server: the one at --server, else the one of the data directory.
func dial(c *cobra.Command) (*admin.Client, error) {
	server, _ := c.Flags().GetString("server")
	data, _ := c.Flags().GetString("data")
	if server == "" || c.Flags().Changed("data") && !c.Flags().Changed("server") {
		return admin.Dial(data)
	}
	token := ""
	if file, _ := c.Flags().GetString("token-file"); file != "" {
		var err error
		if token, err = readSecret(file, "token"); err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
	}
	ca, _ := c.Flags().GetString("ca-file")
	return admin.DialURL(server, token, ca)
}

func flagValue(c *cobra.Command, p admin.Param, values map[string]any) error {
	name := p.Name
	if p.Secret {
		name += "-file"
	}
	if !c.Flags().Changed(name) {
		return nil
	}
	switch {
	case p.Secret:
		file, _ := c.Flags().GetString(name)
		secret, err := readSecret(file, p.Name)
		if err != nil {
			return err
		}
		values[p.Name] = secret
	case p.Kind == admin.Bool:
		values[p.Name], _ = c.Flags().GetBool(name)
	case p.Kind == admin.Number:
		values[p.Name], _ = c.Flags().GetInt64(name)
	case p.Kind == admin.List:
		values[p.Name], _ = c.Flags().GetStringArray(name)
	default:
		values[p.Name], _ = c.Flags().GetString(name)
	}
	return nil
}

// readSecret reads a secret's only line from a file that nobody else may read,
// or asks for it on the terminal.
func readSecret(file, what string) (string, error) {
	if file == "-" {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			b, err := io.ReadAll(io.LimitReader(os.Stdin, 4096))
			return strings.TrimRight(string(b), "\r\n"), err
		}
		fmt.Fprintf(os.Stderr, "%s: ", what)
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %04o); run chmod 600 %s", file, info.Mode().Perm(), file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return secret, nil
}

func indented(w io.Writer, out json.RawMessage) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
