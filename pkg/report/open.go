package report

import (
	"bufio"
	"context"
	"io"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// NeedsSomebody says whether a row of a result is open: failed, in doubt, invalid,
// accepted and not confirmed, or not attempted; and whatever its result, if somebody
// whom it does not name has lost access by it. It is a Target's Keep.
func NeedsSomebody(res ledger.Result) bool {
	switch Word(res) {
	case ledger.Done.String(), ledger.Unchanged.String():
		return res.Code == crm.CodeStayerLost
	}
	return true
}

// PrintOpen writes the rows that NeedsSomebody keeps to w, as a result file has
// them, and returns how many there are, by result.
func PrintOpen(ctx context.Context, w io.Writer, led *ledger.Ledger) (batch.Counts, error) {
	layout, err := layoutOf(ctx, led)
	if err != nil {
		return batch.Counts{}, err
	}
	buf := bufio.NewWriterSize(w, 1<<16)
	counts, err := writeCSV(ctx, buf, led, layout, NeedsSomebody)
	if err == nil {
		err = buf.Flush()
	}
	return counts, err
}
