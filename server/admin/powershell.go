package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode"
)

// PowerShell makes a module of the OpenAPI description: a function for every operation, which
// returns objects. Files are by name.
func PowerShell(description []byte, version string) (map[string][]byte, error) {
	functions, err := psFunctions(description)
	if err != nil {
		return nil, err
	}
	var module, manifest bytes.Buffer
	if err := psModule.Execute(&module, functions); err != nil {
		return nil, err
	}
	version, _, _ = strings.Cut(version, "-")
	if err := psManifest.Execute(&manifest, map[string]any{"Functions": functions, "Version": version}); err != nil {
		return nil, err
	}
	return map[string][]byte{"Gabion.psm1": module.Bytes(), "Gabion.psd1": manifest.Bytes()}, nil
}

// psFunction is one function of the module.
type psFunction struct {
	Name, Summary, Example, Method, Path string
	Mutates, Sends, Takes                bool
	Params                               []psParam
}

type psParam struct {
	Name, Wire, Type, Help string
	Mandatory, InPath      bool
	Position               int // -1: by name only
}

// described is what the module needs of an operation's description.
type describedOperation struct {
	ID         string `json:"operationId"`
	Summary    string
	Command    string `json:"x-gabion-command"`
	Mutates    bool   `json:"x-gabion-mutates"`
	Sends      bool   `json:"x-gabion-sends"`
	Takes      bool   `json:"x-gabion-takes"`
	Parameters []struct {
		Name, In, Description string
		Required              bool
		Schema                describedSchema
	}
	Body struct {
		Content map[string]struct {
			Schema struct {
				Properties map[string]describedSchema
				Required   []string
			}
		}
	} `json:"requestBody"`
}

type describedSchema struct {
	Type, Format, Description string
	Position                  *int `json:"x-gabion-position"`
}

func psFunctions(description []byte) ([]psFunction, error) {
	var doc struct {
		Paths map[string]map[string]describedOperation
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		return nil, fmt.Errorf("the description is not OpenAPI: %w", err)
	}
	var out []psFunction
	for path, item := range doc.Paths {
		for method, op := range item {
			f := psFunction{
				Name: psName(op.ID), Summary: op.Summary, Method: strings.ToUpper(method), Path: path,
				Mutates: op.Mutates, Sends: op.Sends, Takes: op.Takes,
			}
			for _, p := range op.Parameters {
				f.Params = append(f.Params, psParameter(p.Name, p.Description, p.Schema, p.Required, p.In == "path"))
			}
			schema := op.Body.Content["application/json"].Schema
			for name, s := range schema.Properties {
				f.Params = append(f.Params, psParameter(name, s.Description, s, slices.Contains(schema.Required, name), false))
			}
			slices.SortFunc(f.Params, func(a, b psParam) int {
				if (a.Position < 0) != (b.Position < 0) {
					return b.Position - a.Position
				}
				if a.Position != b.Position {
					return a.Position - b.Position
				}
				return strings.Compare(a.Name, b.Name)
			})
			f.Example = f.example()
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b psFunction) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func psParameter(name, help string, s describedSchema, required, inPath bool) psParam {
	p := psParam{Name: camel(name), Wire: name, Help: help, Mandatory: required, InPath: inPath, Position: -1, Type: "string"}
	switch {
	case s.Format == "password":
		p.Type = "securestring"
	case s.Type == "boolean":
		p.Type = "switch"
	case s.Type == "integer":
		p.Type = "long"
	case s.Type == "array":
		p.Type = "string[]"
	}
	if s.Position != nil {
		p.Position = *s.Position
	}
	return p
}

// example calls the function with what it needs.
func (f *psFunction) example() string {
	words := []string{f.Name}
	for _, p := range f.Params {
		if p.Mandatory {
			words = append(words, "-"+p.Name+" "+strings.ToLower(p.Name))
		}
	}
	if f.Sends {
		words = append(words, "-OutFile stream.gbx")
	}
	if f.Takes {
		words = append(words, "-InFile stream.gbx")
	}
	return strings.Join(words, " ")
}

// psVerbs are PowerShell's approved verbs for the command line's.
var psVerbs = map[string]string{
	"list": "Get", "stats": "Get", "show": "Get", "top": "Get", "explain": "Get", "create": "New", "add": "New", "set": "Set", "delete": "Remove", "remove": "Remove",
	"revoke": "Revoke", "grant": "Grant", "close": "Close", "pause": "Suspend", "resume": "Resume", "lock": "Lock", "mount": "Mount",
	"diff": "Compare", "verify": "Test", "check": "Test", "enable": "Enable", "disable": "Disable", "resize": "Resize", "convert": "Convert",
}

// psWhole are operations of one word, or whose last word is no verb.
var psWhole = map[string]string{
	"status": "Get-GabionStatus", "restore": "Restore-GabionSnapshot", "sync": "Sync-GabionVM", "diff": "Get-GabionChangedRange",
	"export": "Export-GabionVM", "import": "Import-GabionVM", "clone": "Copy-GabionFile",
	"user_passwd": "Set-GabionUserPassword", "user_groups": "Set-GabionUserGroup", "auth_verify": "Test-GabionDomain", "auth_explain": "Get-GabionAccess",
	"volume_stats": "Get-GabionVolume",
}

// psName makes a function's name of an operation's.
func psName(id string) string {
	if n := psWhole[id]; n != "" {
		return n
	}
	words := strings.Split(id, "_")
	verb, ok := psVerbs[words[len(words)-1]]
	noun := words[:len(words)-1]
	if !ok {
		verb, noun = "Invoke", words
	}
	return verb + "-Gabion" + camel(strings.Join(noun, "-"))
}

// camel is a name in PowerShell's spelling.
func camel(name string) string {
	var b strings.Builder
	for _, w := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' }) {
		if w == "vm" || w == "vhd" || w == "id" || w == "qos" {
			b.WriteString(strings.ToUpper(w))
			continue
		}
		r := []rune(w)
		b.WriteRune(unicode.ToUpper(r[0]))
		b.WriteString(string(r[1:]))
	}
	return b.String()
}

var psFuncs = template.FuncMap{
	// quote is a string that PowerShell takes as it is.
	"quote": func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" },
	// comment is text for a comment block, on one line.
	"comment": func(s string) string {
		return strings.NewReplacer("#>", "# >", "<#", "< #", "\n", " ").Replace(s)
	},
}

var psModule = template.Must(template.New("module").Funcs(psFuncs).Parse(`# Generated from the array's OpenAPI description by ` + "`gabion generate powershell`" + `; do not edit.
#Requires -Version 7.0
Set-StrictMode -Version Latest
$script:GabionConnection = $null

function Connect-Gabion {
    <#
    .SYNOPSIS
    Say which array the other functions work on, and as whom
    .EXAMPLE
    Connect-Gabion -Server https://array.dom.test:8443 -TokenFile ~/gabion.token
    .EXAMPLE
    Connect-Gabion -Server https://array.dom.test:8443
    With no token, the Kerberos ticket of who runs PowerShell is shown.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, Position = 0)][uri]$Server,
        [string]$TokenFile
    )
    if ($Server.Scheme -ne 'https') { throw "Gabion: $Server is not https://HOST:PORT" }
    $base = $Server.AbsoluteUri.TrimEnd('/')
    if ($TokenFile) {
        $token = (Get-Content -Raw -LiteralPath $TokenFile).Trim()
    } else {
        $token = (Invoke-RestMethod -Method Post -Uri "$base/v1/session" -UseDefaultCredentials).token
    }
    $script:GabionConnection = @{ Base = $base; Token = $token }
}

function Invoke-GabionRequest {
    [CmdletBinding()]
    param([string]$Method, [string]$Path, [hashtable]$InPath, [hashtable]$Values, [string]$OutFile, [string]$InFile)
    if ($null -eq $script:GabionConnection) { throw 'Gabion: call Connect-Gabion first' }
    foreach ($name in $InPath.Keys) {
        $Path = $Path.Replace('{' + $name + '}', [uri]::EscapeDataString([string]$InPath[$name]))
    }
    $request = @{
        Method  = $Method
        Headers = @{ Authorization = 'Bearer ' + $script:GabionConnection.Token }
    }
    if ($Method -eq 'GET' -or $InFile) {
        $query = foreach ($name in $Values.Keys) {
            foreach ($value in @($Values[$name])) {
                if ($value -is [bool]) { $value = ([string]$value).ToLowerInvariant() }
                [uri]::EscapeDataString($name) + '=' + [uri]::EscapeDataString([string]$value)
            }
        }
        if ($query) { $Path += '?' + ($query -join '&') }
    } else {
        $request.Body = [System.Text.Encoding]::UTF8.GetBytes((ConvertTo-Json -InputObject $Values -Depth 10 -Compress))
        $request.ContentType = 'application/json'
    }
    if ($InFile) {
        $request.InFile = $InFile
        $request.ContentType = 'application/x-gabion-export'
    }
    $request.Uri = $script:GabionConnection.Base + $Path
    try {
        if ($OutFile) {
            Invoke-WebRequest @request -OutFile $OutFile
        } else {
            Invoke-RestMethod @request
        }
    } catch {
        $message = $_.ErrorDetails.Message
        if ($message) {
            try { $message = (ConvertFrom-Json $message).error.message } catch { Write-Debug 'the answer is not JSON' }
            throw "Gabion: $message"
        }
        throw
    }
}
{{range .}}
function {{.Name}} {
    <#
    .SYNOPSIS
    {{comment .Summary}}
{{- range .Params}}
    .PARAMETER {{.Name}}
    {{comment .Help}}
{{- end}}
    .EXAMPLE
    {{comment .Example}}
    #>
    [CmdletBinding({{if .Mutates}}SupportsShouldProcess{{end}})]
    param(
{{- range $i, $p := .Params}}{{if $i}},{{end}}
        [Parameter({{if $p.Mandatory}}Mandatory{{end}}{{if ge $p.Position 0}}{{if $p.Mandatory}}, {{end}}Position = {{$p.Position}}{{end}})][{{$p.Type}}]${{$p.Name}}
{{- end}}
{{- if .Sends}}{{if .Params}},{{end}}
        [Parameter(Mandatory)][string]$OutFile
{{- end}}
{{- if .Takes}}{{if .Params}},{{end}}
        [Parameter(Mandatory)][string]$InFile
{{- end}}
    )
    $inPath = @{}
    $values = @{}
{{- range .Params}}
    if ($PSBoundParameters.ContainsKey({{quote .Name}})) {
        ${{if .InPath}}inPath{{else}}values{{end}}[{{quote .Wire}}] = {{if eq .Type "switch"}}[bool]${{.Name}}{{else if eq .Type "securestring"}}ConvertFrom-SecureString -SecureString ${{.Name}} -AsPlainText{{else}}${{.Name}}{{end}}
    }
{{- end}}
{{- if .Mutates}}
    if (-not $PSCmdlet.ShouldProcess({{quote .Path}}, {{quote .Summary}})) { return }
{{- end}}
    Invoke-GabionRequest -Method {{quote .Method}} -Path {{quote .Path}} -InPath $inPath -Values $values{{if .Sends}} -OutFile $OutFile{{end}}{{if .Takes}} -InFile $InFile{{end}}
}
{{end}}
Export-ModuleMember -Function 'Connect-Gabion'{{range .}}, {{quote .Name}}{{end}}
`))

var psManifest = template.Must(template.New("manifest").Funcs(psFuncs).Parse(`# Generated by ` + "`gabion generate powershell`" + `; do not edit.
@{
    RootModule        = 'Gabion.psm1'
    ModuleVersion     = {{quote .Version}}
    GUID              = '5d1c5a2e-7b0f-4a57-9c53-6f0d9d1c6a11'
    Description       = 'Administration of a Gabion storage array'
    PowerShellVersion = '7.0'
    FunctionsToExport = @('Connect-Gabion'{{range .Functions}}, {{quote .Name}}{{end}})
    CmdletsToExport   = @()
    AliasesToExport   = @()
}
`))
