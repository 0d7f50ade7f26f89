package torture

import (
	"flag"
	"io"
	"os"
	"runtime/debug"
	"testing"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

// The client's error handlers wait until a while after the last error anywhere in
// the process; to one bubble that of another may lie years ahead.
func TestMain(m *testing.M) {
	utilruntime.ErrorHandlers = nil //nolint:reassign // there is no other way to be rid of them
	flag.Parse()
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(1 << 30)
	os.Exit(m.Run())
}
