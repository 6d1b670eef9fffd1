package main

import (
	"context"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// load reads the sheet to its end and checks every row, and that its result can be
// written as it was asked for.
func (j *job) load(ctx context.Context) error {
	err := j.batch.Load(ctx, j.reader)
	if bad := checkNamed(j.accounts); bad != nil {
		return bad
	}
	if err != nil {
		return err
	}
	return report.CheckSize(j.names.output, j.reader.Extent())
}
