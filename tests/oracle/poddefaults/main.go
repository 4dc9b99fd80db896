// Command poddefaults fills in what Kubernetes fills in on pod templates: one template a line in, one out.
//
// It compiles much of Kubernetes, so tests do not run it: they read tests/rollouts/data/defaulted-templates.jsonl, which
// tests/oracle/poddefaults/generate.py writes with its help.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	defaults "k8s.io/kubernetes/pkg/apis/core/v1"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var plain map[string]any
		if err := utiljson.Unmarshal(in.Bytes(), &plain); err != nil {
			panic(err)
		}
		var t corev1.PodTemplate
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(plain, &t.Template); err != nil {
			panic(err)
		}
		defaults.SetObjectDefaults_PodTemplate(&t)
		data, _ := json.Marshal(t.Template)
		fmt.Println(string(data))
	}
}
