package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Export makes a ledger file at path that is a copy of this ledger as it was at one moment,
// whatever database it stands in and whoever is at work on it. The file holds everything,
// is read and verified like any other, and is marked: to open it for a change is ErrCopy.
// The ledger itself stays as it is, the one to work on. A broken chain is copied as it is.
//
// The file gets its name when it is complete and durable; an error, a cancelled context or
// a kill leaves none of that name (Sweep finds the rest). A file that is there is
// fs.ErrExist and stays. Memory is flat.
//
// Texts that are no UTF-8, or have a zero byte, lose that as soon as they go through
// PostgreSQL; events have none.
func (l *Ledger) Export(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err == nil {
		err = l.export(ctx, path)
	}
	if err != nil {
		return fmt.Errorf("take the ledger out as %s: %w", path, err)
	}
	return nil
}

func (l *Ledger) export(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist // before all that work
	}
	err := l.read(ctx, func(from *conn) error {
		return from.snapshot(func() error {
			return newFile(path, func(to *conn) error {
				if err := to.once(schema + to.setVersion(schemaVersion)); err != nil {
					return err
				}
				if _, err := to.exec("INSERT INTO head (id, event, hash, opseq) VALUES (1, 0, ?, 0)", make([]byte, hashSize)); err != nil {
					return err
				}
				if err := l.copyTo(ctx, from, to, l.dir, filepath.Dir(path)); err != nil {
					return err
				}
				if err := to.once(indexes); err != nil {
					return err
				}
				return writeMark(to, markCopy)
			})
		})
	})
	_, isPath := errors.AsType[*fs.PathError](err)
	_, isLink := errors.AsType[*os.LinkError](err)
	if isPath || isLink && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return err
}

// durable is a table that a copy has all rows of.
type durable struct{ table, key, columns string }

// durables are all tables that last but for meta and head, which have something of their
// own in every place.
var durables = []durable{
	{"account", "id", "id, name, crm, host, org"},
	{"email", "account, address", "account, address, user_id"},
	{"run", "id", "id, started, ended, version, operator, args, summary"},
	{"output", "path", "path"},
	{"event", "seq", "seq, at, kind, body, prev, hash"},
	{"seen", "id", "id, call_id, account, run, attempt, sent_at, state"},
	{"sheet_row", "ord", rowColumns},
	{"earlier_row", "ord", rowColumns},
	{"op", "id", "id, account, action, object, record_id, context_id, user_id, access, minutes, related, permissions, record_level, " +
		"state, turn, ord, head, members, open, seq, uncertain, happened, prior, attempts, tried, first_run, seen, lost, " +
		"call_id, request_id, ticket, code, message, note, http_status, sent_at, confirmed_at"},
}

// copyTo copies everything, as one snapshot has it, into tables that have no rows but that of
// head, in the transaction that is under way there. It ends with the context, and when the
// ledger is closed. The ledgers stand in these folders, "" for none.
func (l *Ledger) copyTo(ctx context.Context, from, to *conn, fromDir, toDir string) error {
	*to.end = end{} // it will be another
	for _, t := range durables {
		change := func(value any) any { return value }
		if t.table == "output" { // the way from there is another one
			change = func(value any) any { return wayFrom(value, fromDir, toDir) }
		}
		if err := l.copyTable(ctx, from, to, t, change); err != nil {
			return fmt.Errorf("copy %s: %w", t.table, err)
		}
	}
	var names, values []string
	if err := from.query("SELECT name, value FROM meta WHERE name NOT IN ('schema', ?) ORDER BY name", func(r row) error {
		names, values = append(names, r.text("name")), append(values, r.text("value"))
		return nil
	}, metaMark); err != nil {
		return err
	}
	for i, name := range names {
		if err := writeMeta(to, name, values[i]); err != nil {
			return err
		}
	}
	var ends []any
	if err := from.query("SELECT event, hash, opseq FROM head WHERE id = 1", func(r row) error {
		ends = []any{r.int64("event"), r.bytes("hash"), r.int64("opseq")}
		return nil
	}); err != nil {
		return err
	}
	_, err := to.exec("UPDATE head SET event = ?, hash = ?, opseq = ? WHERE id = 1", ends...)
	return err
}

// wayFrom turns the way to a file from one ledger's folder into that from another's.
func wayFrom(path any, fromDir, toDir string) any {
	p, ok := path.(string)
	if !ok {
		return path
	}
	if p = filepath.FromSlash(p); !filepath.IsAbs(p) && fromDir != "" {
		p = filepath.Join(fromDir, p)
	}
	return way(p, toDir)
}

func (l *Ledger) copyTable(ctx context.Context, from, to *conn, t durable, change func(value any) any) error {
	columns, keys := strings.Split(t.columns, ", "), strings.Split(t.key, ", ")
	rest := " ORDER BY " + t.key + " LIMIT " + strconv.Itoa(pageRows)
	behind := " WHERE (" + t.key + ") > (?" + strings.Repeat(", ?", len(keys)-1) + ")"
	var page, after []any
	for where := ""; ; where = behind {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-l.quit:
			return ErrClosed
		default:
		}
		n := 0
		page = page[:0]
		last := make([]any, len(keys))
		if err := from.query("SELECT "+t.columns+" FROM "+t.table+where+rest, func(r row) error {
			for _, name := range columns {
				page = append(page, change(r.value(name)))
			}
			for i, name := range keys {
				last[i] = r.value(name)
			}
			n++
			return nil
		}, after...); err != nil || n == 0 {
			return err
		}
		if err := to.insert(t.table, t.columns, n, func(args []any, i int) []any {
			return append(args, page[i*len(columns):(i+1)*len(columns)]...)
		}); err != nil {
			return err
		}
		after = last
	}
}
