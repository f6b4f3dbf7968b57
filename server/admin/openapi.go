package admin

import "strings"

// OpenAPI describes the table as an OpenAPI 3.1 document.
func OpenAPI(ops []Operation) map[string]any {
	paths := map[string]any{}
	for _, op := range ops {
		item, _ := paths[op.Path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[op.Path] = item
		}
		item[strings.ToLower(op.Method)] = describe(op)
	}
	return map[string]any{
		"openapi":  "3.1.0",
		"info":     map[string]any{"title": "Gabion", "version": "v1"},
		"security": []any{map[string]any{"token": []any{}}, map[string]any{"ticket": []any{}}},
		"components": map[string]any{"securitySchemes": map[string]any{
			"token":  map[string]any{"type": "http", "scheme": "bearer", "description": "of `gabion token create`, or of POST /v1/session"},
			"ticket": map[string]any{"type": "http", "scheme": "negotiate", "description": "Kerberos; good for reading, and for POST /v1/session"},
		}},
		"paths": paths,
	}
}

func describe(op Operation) map[string]any {
	var params []any
	props, required := map[string]any{}, []string{}
	position := 0
	for _, p := range op.Params {
		schema := map[string]any{"type": p.Kind.String()}
		if p.Positional {
			schema["x-gabion-position"] = position
			position++
		}
		if p.Secret {
			schema["format"] = "password"
		}
		if p.Kind == List {
			schema["items"] = map[string]any{"type": "string"}
		}
		inPath := strings.Contains(op.Path, "{"+p.Name+"}")
		if inPath || op.Method == "GET" || op.Takes {
			where := "query"
			if inPath {
				where = "path"
			}
			params = append(params, map[string]any{
				"name": p.Name, "in": where, "required": inPath || p.Required,
				"description": p.Help, "schema": schema,
			})
			continue
		}
		schema["description"] = p.Help
		props[p.Name] = schema
		if p.Required {
			required = append(required, p.Name)
		}
	}
	d := map[string]any{
		"operationId": strings.ReplaceAll(op.Name, " ", "_"),
		"summary":     op.Summary,
		"description": "Least role: " + op.leastRole() + ". Command line: `" + op.Example + "`",
		"responses": map[string]any{
			"200":     map[string]any{"description": "done"},
			"default": map[string]any{"description": `{"error":{"status":…,"message":…}}`},
		},
	}
	if params != nil {
		d["parameters"] = params
	}
	d["x-gabion-command"] = "gabion " + op.Name
	d["x-gabion-mutates"] = op.Mutates
	stream := map[string]any{StreamType: map[string]any{"schema": map[string]any{"type": "string", "format": "binary"}}}
	if op.Sends {
		d["x-gabion-sends"] = true
		d["responses"].(map[string]any)["200"] = map[string]any{"description": "a stream of frames, see package protocol/archive", "content": stream}
	}
	if op.Takes {
		d["x-gabion-takes"] = true
		d["requestBody"] = map[string]any{"required": true, "content": stream}
	}
	if len(props) > 0 {
		schema := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
		if len(required) > 0 {
			schema["required"] = required
		}
		d["requestBody"] = map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": schema}}}
	}
	return d
}

// leastRole says who may call the operation.
func (op *Operation) leastRole() string {
	switch {
	case op.Scoped:
		return op.Role.String() + " on what it touches"
	case op.Delegated == "":
		return op.Role.String()
	case !op.forOperators():
		return op.Role.String() + " on the " + op.Delegated
	}
	return op.Role.String() + ", or vm-operator, on the " + strings.Join(strings.Fields(op.Delegated), " and the ")
}
