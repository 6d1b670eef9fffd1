package find

import (
	"context"
	"iter"
	"sync"
)

const (
	// ahead is how many pieces of work may be finished, for each worker, behind one that is
	// not: so one slow answer keeps the others at work.
	ahead = 4
	// mostAtOnce is how many pieces are committed together.
	mostAtOnce = 64
)

// inOrder has workers do pieces of work side by side, and commits them in their order, as
// many together as are finished. What was committed is so always a beginning of the pieces.
// It ends with the error of commit, that of the stream, or what ended ctx; pieces that are
// under way then get a context that is done.
func inOrder[T any](ctx context.Context, workers int, pieces iter.Seq2[*T, error], do func(context.Context, *T), commit func([]*T) error) (err error) {
	type slot struct {
		piece *T
		done  chan struct{}
		err   error // of the stream
	}
	inner, cancel := context.WithCancelCause(ctx)
	queue, places := make(chan slot, ahead*workers), make(chan struct{}, workers)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(queue)
		for piece, err := range pieces {
			s := slot{piece, make(chan struct{}), err}
			if err == nil {
				select {
				case places <- struct{}{}:
				case <-inner.Done():
					return
				}
				group.Go(func() {
					do(inner, piece)
					<-places
					close(s.done)
				})
			}
			select {
			case queue <- s:
			case <-inner.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	defer func() {
		cancel(err)
		for range queue { // nobody waits for what is left
		}
		group.Wait()
	}()

	var ready []*T
	flush := func() error {
		if len(ready) == 0 {
			return nil
		}
		err := commit(ready)
		ready = ready[:0]
		return err
	}
	for {
		s, ok := slot{}, false
		select {
		case s, ok = <-queue:
		default:
			if err := flush(); err != nil {
				return err
			}
			s, ok = <-queue
		}
		if !ok {
			break
		}
		if s.err != nil {
			if err := flush(); err != nil {
				return err
			}
			return s.err
		}
		select {
		case <-s.done:
		default:
			if err := flush(); err != nil {
				return err
			}
			<-s.done
		}
		if ready = append(ready, s.piece); len(ready) == mostAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
