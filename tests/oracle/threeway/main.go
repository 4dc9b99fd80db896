// Answers, for each line of input, what a client-side apply makes of a live object: with the patch libraries and the
// defaults of Kubernetes itself. Both sides are read into their types and defaulted before they are compared.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

type question struct {
	Original, Target, Live json.RawMessage
}

type answer struct {
	Error     string          `json:"error,omitempty"`
	Modified  bool            `json:"modified"`
	Live      json.RawMessage `json:"live,omitempty"`
	Predicted json.RawMessage `json:"predicted,omitempty"`
}

// defaulted returns the object as its type writes it, with defaults.
func defaulted(raw []byte, of runtime.Object) ([]byte, error) {
	object := reflect.New(reflect.TypeOf(of).Elem()).Interface().(runtime.Object)
	if err := json.Unmarshal(raw, object); err != nil {
		return nil, err
	}
	legacyscheme.Scheme.Default(object)
	return json.Marshal(object)
}

func typed(raw []byte) (runtime.Object, bool) {
	var head struct{ APIVersion, Kind string }
	if err := json.Unmarshal(raw, &head); err != nil {
		panic(err)
	}
	version, err := schema.ParseGroupVersion(head.APIVersion)
	if err != nil {
		panic(err)
	}
	object, err := legacyscheme.Scheme.New(version.WithKind(head.Kind))
	return object, err == nil
}

func predict(asked question) ([]byte, []byte, error) {
	object, isKnown := typed(asked.Target)
	if !isKnown {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(asked.Original, asked.Target, asked.Live)
		if err != nil {
			return nil, nil, err
		}
		predicted, err := jsonpatch.MergePatch(asked.Live, patch)
		return predicted, asked.Live, err
	}
	stored, err := defaulted(asked.Live, object) // as the API server keeps it
	if err != nil {
		return nil, nil, err
	}
	// As the differ of Argo CD: the target and the last one as their type writes them.
	sides := make([][]byte, 3)
	for place, raw := range [][]byte{asked.Original, asked.Target, stored} {
		typedSide := reflect.New(reflect.TypeOf(object).Elem()).Interface()
		if err := json.Unmarshal(raw, typedSide); err != nil {
			return nil, nil, err
		}
		written, err := json.Marshal(typedSide)
		if err != nil {
			return nil, nil, err
		}
		sides[place] = written
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(object)
	if err != nil {
		return nil, nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(sides[0], sides[1], sides[2], meta, true)
	if err != nil {
		return nil, nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(sides[2], patch, object)
	if err != nil {
		return nil, nil, err
	}
	predicted, err := defaulted(merged, object)
	if err != nil {
		return nil, nil, err
	}
	live, err := defaulted(sides[2], object)
	return predicted, live, err
}

func same(one, other []byte) bool {
	var left, right any
	if json.Unmarshal(one, &left) != nil || json.Unmarshal(other, &right) != nil {
		panic("no JSON")
	}
	return reflect.DeepEqual(left, right)
}

func main() {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(make([]byte, 1<<20), 1<<26)
	written := json.NewEncoder(os.Stdout)
	for scanner.Scan() {
		var asked question
		if err := json.Unmarshal(scanner.Bytes(), &asked); err != nil {
			panic(err)
		}
		given := answer{}
		predicted, live, err := predict(asked)
		if err != nil {
			given.Error = err.Error()
		} else {
			given.Modified, given.Live, given.Predicted = !same(predicted, live), live, predicted
		}
		if err := written.Encode(given); err != nil {
			panic(err)
		}
	}
}
