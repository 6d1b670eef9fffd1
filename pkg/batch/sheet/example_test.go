package sheet_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// A sheet is read row by row: the fields that bulkrevoke knows, under whatever
// names the header has for them, and the cells as they were.
func ExampleOpen() {
	in, err := sheet.Open(strings.NewReader("Action;Module;EntityId;user_email;reason\r\nrevoke;Quotes;4150868000002515001; bob@example.com ;left\r\n"), "leavers.csv", sheet.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for rec, err := range in.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("line %d: %s %s %s from %s, %q\n", rec.Line, rec.Fields.Action, rec.Fields.Object, rec.Fields.Record, rec.Fields.Email, rec.Cells[3])
	}
	// Output: line 2: revoke Quotes 4150868000002515001 from bob@example.com, " bob@example.com "
}
