package ledger

import (
	"context"
	"iter"
)

// pageRows is how many rows a page of a stream has: enough that the query costs
// little per row, few enough that wide rows stay small in memory.
const pageRows = 1000

// pager reads the next page behind the one that it read before, into page, and
// returns an empty one at the end.
type pager[T any] func(c *conn, page []T) ([]T, error)

// paged streams what the pager of start reads. No connection is held while the
// consumer is at work, and the stream can be read again from the beginning.
func paged[T any](ctx context.Context, read func(context.Context, func(*conn) error) error, start func() pager[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		next := start()
		var page []T
		for {
			err := read(ctx, func(c *conn) (err error) {
				page, err = next(c, page[:0])
				return err
			})
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			if len(page) == 0 {
				return
			}
			for _, v := range page {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}
