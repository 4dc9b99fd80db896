// Command templates is the oracle of fairlead's templates and properties: it answers one case per line.
//
//	{"mode": "template", "text": ..., "values": {"key": "base64"}}   Go's text/template with sprig, missingkey=error
//	{"mode": "yaml", "text": ...}                                    a YAML document as map[string]string
//	{"mode": "property", "text": document, "path": ...}              a GJSON path
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/tidwall/gjson"
	"sigs.k8s.io/yaml"
)

type question struct {
	Mode   string            `json:"mode"`
	Text   string            `json:"text"`
	Path   string            `json:"path"`
	Values map[string][]byte `json:"values"`
}

type answer struct {
	Out    []byte            `json:"out"`
	Error  string            `json:"error,omitempty"`
	Exists bool              `json:"exists,omitempty"`
	Map    map[string]string `json:"map,omitempty"`
}

func functions() template.FuncMap {
	found := sprig.TxtFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(found, name)
	}
	found["toYaml"] = func(value any) string {
		text, err := yaml.Marshal(value)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	found["fromYaml"] = func(text string) map[string]any {
		values := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			values["Error"] = err.Error()
		}
		return values
	}
	return found
}

func rendered(asked question) answer {
	values := map[string]string{}
	for key, value := range asked.Values {
		values[key] = string(value)
	}
	parsed, err := template.New("asked").Option("missingkey=error").Funcs(functions()).Parse(asked.Text)
	if err != nil {
		return answer{Error: err.Error()}
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, values); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Out: out.Bytes()}
}

func answered(asked question) (found answer) {
	defer func() {
		if cause := recover(); cause != nil {
			found = answer{Error: fmt.Sprint("panic: ", cause)}
		}
	}()
	switch asked.Mode {
	case "property":
		result := gjson.Get(asked.Text, asked.Path)
		return answer{Out: []byte(result.String()), Exists: result.Exists()}
	case "yaml":
		values := map[string]string{}
		if err := yaml.Unmarshal([]byte(asked.Text), &values); err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Map: values}
	default:
		return rendered(asked)
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		line, err := json.Marshal(answered(asked))
		if err != nil {
			panic(err)
		}
		out.Write(append(line, '\n'))
	}
}
