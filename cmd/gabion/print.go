package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// field is one member of a JSON object, in the order the server wrote it.
type field struct {
	name  string
	value any
}

// printResult prints a list of objects as a table, one object as "name value"
// lines, and a bare string as it is.
func printResult(w io.Writer, out json.RawMessage) error {
	v, err := ordered(json.NewDecoder(bytes.NewReader(out)))
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	switch t := v.(type) {
	case []any:
		printTable(tw, t)
	case []field:
		return printObject(w, t)
	case nil:
	default:
		fmt.Fprintln(tw, text(t))
	}
	return tw.Flush()
}

// printObject prints "name value" lines, then the lists of objects among the values as tables.
func printObject(w io.Writer, fields []field) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	var tables [][]any
	for _, f := range fields {
		if list, ok := f.value.([]any); ok && len(list) > 0 {
			if _, ok := list[0].([]field); ok {
				tables = append(tables, list)
				continue
			}
		}
		fmt.Fprintf(tw, "%s\t%s\n", f.name, text(f.value))
	}
	for _, list := range tables {
		if err := tw.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(w)
		printTable(tw, list)
	}
	return tw.Flush()
}

// printSections prints one object whose lists become tables of their own below the rest.
func printSections(w io.Writer, out json.RawMessage) error {
	v, err := ordered(json.NewDecoder(bytes.NewReader(out)))
	if err != nil {
		return err
	}
	fields, ok := v.([]field)
	if !ok {
		return printResult(w, out)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range fields {
		if _, list := f.value.([]any); !list {
			fmt.Fprintf(tw, "%s\t%s\n", f.name, text(f.value))
		}
	}
	for _, f := range fields {
		if rows, list := f.value.([]any); list && len(rows) > 0 {
			fmt.Fprintf(tw, "\n%s\n", strings.ToUpper(strings.ReplaceAll(f.name, "_", " ")))
			printTable(tw, rows)
		}
	}
	return tw.Flush()
}

func printTable(w io.Writer, rows []any) {
	for i, r := range rows {
		fields, ok := r.([]field)
		if !ok {
			fmt.Fprintln(w, text(r))
			continue
		}
		if i == 0 {
			for j, f := range fields {
				fmt.Fprint(w, tab(j), strings.ToUpper(strings.ReplaceAll(f.name, "_", " ")))
			}
			fmt.Fprintln(w)
		}
		for j, f := range fields {
			fmt.Fprint(w, tab(j), text(f.value))
		}
		fmt.Fprintln(w)
	}
}

func tab(i int) string {
	if i == 0 {
		return ""
	}
	return "\t"
}

func text(v any) string {
	switch t := v.(type) {
	case nil:
		return "-"
	case string:
		if t == "" {
			return "-"
		}
		return t
	case []any:
		parts := make([]string, len(t))
		for i, e := range t {
			parts[i] = text(e)
		}
		return strings.Join(parts, ",")
	case []field:
		parts := make([]string, len(t))
		for i, f := range t {
			parts[i] = f.name + "=" + text(f.value)
		}
		return strings.Join(parts, " ")
	}
	return fmt.Sprint(v)
}

// ordered decodes JSON keeping the order of object members.
func ordered(d *json.Decoder) (any, error) {
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	case json.Delim('{'):
		fields := []field{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			fields = append(fields, field{fmt.Sprint(name), v})
		}
		_, err = d.Token()
		return fields, err
	}
	return t, nil
}
