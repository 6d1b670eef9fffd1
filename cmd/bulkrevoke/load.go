package main

import (
	"context"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// load reads the sheet to its end and checks every row, and that its result can be
// written as it was asked for.
func (j *job) load(ctx context.Context) error {
	if err := j.batch.LoadSheet(ctx, j.reader); err != nil {
		return err
	}
	if j.world != nil {
		if err := j.world.seedAll(j.batch.Rows(ctx)); err != nil {
			return err
		}
	}
	return report.CheckSize(j.names.output, j.reader.Extent())
}
