// Command podtemplate is the oracle of fairlead's pod template hash.
//
//	podtemplate table         prints, as JSON, how Go writes a core/v1 PodTemplateSpec: the fields of every struct in order
//	podtemplate hash          reads one case per line, {"template": {...}, "collisionCount": 1}, and prints, per line,
//	                          the template as Go writes it and its hash, or why it cannot be decoded
//	podtemplate quantity      reads one JSON string per line and prints the canonical quantity
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"reflect"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/rand"
)

// shapes of values that are not structs, lists or maps, nor of Go's own kinds.
var special = map[reflect.Type]string{
	reflect.TypeOf(resource.Quantity{}):  "quantity",
	reflect.TypeOf(intstr.IntOrString{}): "intOrString",
	reflect.TypeOf(metav1.Time{}):        "time",
	reflect.TypeOf(metav1.MicroTime{}):   "time",
	reflect.TypeOf(metav1.FieldsV1{}):    "raw",
}

// walker collects, by the name of a struct, its fields as [name, shape, flags].
// A shape is string, bool, int32, int64, a special one, @Struct, list:SHAPE or map:SHAPE (keys are strings).
// Flags: p pointer, e omitempty, z omitzero.
type walker map[string][][3]string

func (w walker) shapeOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := special[t]; ok {
		return name
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		return t.Kind().String()
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 && t.Elem().Kind() != reflect.Pointer {
			return "list:" + w.shapeOf(t.Elem())
		}
	case reflect.Map:
		if t.Elem().Kind() != reflect.Pointer {
			return "map:" + w.shapeOf(t.Elem())
		}
	case reflect.Struct:
		if _, seen := w[t.Name()]; !seen {
			w[t.Name()] = nil
			w[t.Name()] = w.fieldsOf(t)
		}
		return "@" + t.Name()
	}
	panic(fmt.Sprintf("no shape for %v", t))
}

// fieldsOf lists the fields as encoding/json orders them: embedded structs take the place where they are embedded.
func (w walker) fieldsOf(t reflect.Type) [][3]string {
	fields := [][3]string{}
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := strings.Split(f.Tag.Get("json"), ",")
		if f.Anonymous && tag[0] == "" {
			fields = append(fields, w.fieldsOf(f.Type)...)
			continue
		}
		if tag[0] == "-" || !f.IsExported() {
			continue
		}
		flags := ""
		if f.Type.Kind() == reflect.Pointer {
			flags += "p"
		}
		for _, option := range tag[1:] {
			switch option {
			case "omitempty":
				flags += "e"
			case "omitzero":
				flags += "z"
			}
		}
		fields = append(fields, [3]string{tag[0], w.shapeOf(f.Type), flags})
	}
	return fields
}

func table() {
	w := walker{}
	w.shapeOf(reflect.TypeOf(corev1.PodTemplateSpec{}))
	names := make([]string, 0, len(w))
	for name := range w {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		fields, err := json.Marshal(w[name])
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s\"%s\":%s", map[bool]string{true: "{\n", false: ",\n"}[i == 0], name, fields)
	}
	fmt.Println("\n}")
}

type answer struct {
	JSON  string `json:"json"`
	Hash  string `json:"hash"`
	Error string `json:"error,omitempty"`
}

func hashOne(line []byte) answer {
	var in struct {
		Template       json.RawMessage `json:"template"`
		CollisionCount *int32          `json:"collisionCount"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return answer{Error: err.Error()}
	}
	// As the controller reads it: plain data first, then by the same converter that its informers use.
	var plain map[string]any
	if err := utiljson.Unmarshal(in.Template, &plain); err != nil {
		return answer{Error: err.Error()}
	}
	var template corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(plain, &template); err != nil {
		return answer{Error: err.Error()}
	}
	data, err := json.Marshal(template)
	if err != nil {
		return answer{Error: err.Error()}
	}
	sum := fnv.New32a()
	sum.Write(data)
	if in.CollisionCount != nil {
		count := make([]byte, 8)
		binary.LittleEndian.PutUint32(count, uint32(*in.CollisionCount))
		sum.Write(count)
	}
	return answer{JSON: string(data), Hash: rand.SafeEncodeString(fmt.Sprint(sum.Sum32()))}
}

func quantityOne(line []byte) answer {
	var q resource.Quantity
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{Error: err.Error()}
	}
	data, err := json.Marshal(q)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{JSON: string(data)}
}

func eachLine(do func([]byte) answer) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	for in.Scan() {
		if err := encoder.Encode(do(in.Bytes())); err != nil {
			panic(err)
		}
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}

func main() {
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "table":
		table()
	case "hash":
		eachLine(hashOne)
	case "quantity":
		eachLine(quantityOne)
	default:
		fmt.Fprintln(os.Stderr, "usage: podtemplate table|hash|quantity")
		os.Exit(2)
	}
}
