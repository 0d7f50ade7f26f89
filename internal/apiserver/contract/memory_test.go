package contract_test

import (
	"strings"
	"testing"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"serin.dev/serin/internal/apiserver/contract"
	"serin.dev/serin/internal/golden"
)

// The client's error handlers wait until a while after the last error anywhere in
// the process; to one bubble that of another may lie years ahead.
func TestMain(m *testing.M) {
	utilruntime.ErrorHandlers = nil //nolint:reassign // there is no other way to be rid of them
	m.Run()
}

func TestTheServerInMemoryKeepsTheContract(t *testing.T) {
	recorder := &contract.Recorder{}
	contract.Run(t, contract.InMemory(recorder.Through))
	if !t.Failed() { // a part of the suite has a part of the shapes
		golden.Check(t, "shapes.txt", strings.Join(recorder.Shapes(), "\n")+"\n")
	}
}
