package transport_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// A gate holds any calls to "N in W", not only a Client's: each takes a slot, says when it
// is sent, and when it is over.
func ExampleGate() {
	gate, err := transport.NewGate(transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 0.8})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	for range 3 {
		slot, err := gate.Acquire(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		slot.Sent()
		// ... the call: a refusal by the limit is told with gate.Throttled ...
		slot.Done()
	}
	usage := gate.Usage()
	fmt.Printf("%d calls of %d in %v\n", usage.Calls, usage.Limit, usage.Window)
	// Output: 3 calls of 20 in 5s
}
