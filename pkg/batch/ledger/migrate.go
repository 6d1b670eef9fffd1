package ledger

import (
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Schema 1 kept an operation as one blob, states as numbers and groups by 64-bit hashes.

// states1 are the states of schema 1 by their numbers.
var states1 = [...]crm.Status{crm.Pending, crm.Sent, crm.Accepted, crm.Done, crm.Unchanged, crm.Failed, crm.Uncertain}

// status1 tells rows of accounts that could not be worked with, which schema 1 kept as
// invalid ones, by their codes.
const status1 = "CASE WHEN op IS NULL AND code IN ('keys', 'quota', 'unreachable', 'redirect', 'host', 'failures') THEN 'unavailable' WHEN op IS NULL THEN 'invalid' END"

// migrateFrom1 brings a ledger of schema 1 to this one. The events stay as they are.
func migrateFrom1(c *conn) error {
	earlier, err := c.count("SELECT count(*) AS n FROM sqlite_master WHERE type = 'table' AND name = 'earlier'")
	if err != nil {
		return err
	}
	for _, table := range []string{"meta", "head", "account", "email", "run", "output", "event", "op"} {
		if err := c.once("ALTER TABLE " + table + " RENAME TO " + table + "_1"); err != nil {
			return err
		}
	}
	if err := c.once(schema); err != nil {
		return err
	}
	script := `
		INSERT INTO meta SELECT name, value FROM meta_1;
		INSERT INTO head SELECT id, event, hash, opseq FROM head_1;
		INSERT INTO account SELECT id, name, crm, host, org FROM account_1;
		INSERT INTO email SELECT account, address, user FROM email_1;
		INSERT INTO run SELECT id, started, ended, version, operator, args, summary FROM run_1;
		INSERT INTO output SELECT path FROM output_1;
		INSERT INTO event SELECT seq, at, kind, body, prev, hash FROM event_1;
		INSERT INTO seen SELECT id, call, account, run, attempt, sent_at, before FROM call WHERE before IS NOT NULL;
		INSERT INTO sheet_row (ord, line, cells, op, account, code, message, status) SELECT ord, line, cells, op, account, code, message, ` + status1 + ` FROM row;`
	if earlier > 0 {
		script += "INSERT INTO earlier_row (ord, line, cells, op, account, code, message, status) SELECT ord, line, cells, op, account, code, message, " + status1 + " FROM earlier; DROP TABLE earlier;"
	}
	if err := c.once(script); err != nil {
		return err
	}
	if err := migrateOps1(c); err != nil {
		return err
	}
	script = "DROP TABLE call; DROP TABLE row; DROP TABLE whole;"
	for _, table := range []string{"meta", "head", "account", "email", "run", "output", "event", "op"} {
		script += "DROP TABLE " + table + "_1;"
	}
	return c.once(script + indexes)
}

// migrateOps1 takes the operations over, in pages.
func migrateOps1(c *conn) error {
	for after, more := int64(0), true; more; {
		var page [][]any // of values
		if err := c.query(`SELECT o.*, o.before AS seen, EXISTS (SELECT 1 FROM whole w JOIN account_1 a ON a.name = w.account
			WHERE w.rec = o.rec AND a.id = o.account) AS whole FROM op_1 o WHERE o.id > ? ORDER BY o.id LIMIT 1000`, func(r row) error {
			after = r.int64("id")
			op, err := unpackOp1(r.bytes("body"), r.text("user"))
			if err != nil {
				return err
			}
			n := r.int("state")
			if n < 0 || n >= len(states1) {
				return fmt.Errorf("%w: a state %d", ErrDamaged, n)
			}
			args := appendOperation([]any{after, r.int64("account"), op.User}, op)
			// Schema 1 did not say of what failed that it is done but for another way.
			happened := states1[n] == crm.Failed && op.Action != crm.Share && (r.text("code") == crm.CodeInherited || r.text("code") == crm.CodePublic && !r.null("ticket"))
			args = append(args, r.int64("whole"), bit(happened), states1[n].Name())
			for _, name := range []string{
				"turn", "ord", "lead", "rows", "open", "seq", "maybe", "prior", "attempts", "tried", "first_run", "seen", "call_id", "request_id",
				"ticket", "code", "message", "note", "http_status", "sent_at", "confirmed_at",
			} {
				args = append(args, r.value(name))
			}
			page = append(page, args)
			return nil
		}, after); err != nil {
			return err
		}
		more = len(page) > 0
		for _, args := range page {
			if _, err := c.exec(`INSERT INTO op (id, account, user_id, action, object, record_id, context_id, access, minutes, related, permissions, record_level, happened,
				state, turn, ord, head, members, open, seq, uncertain, prior, attempts, tried, first_run, seen, call_id, request_id,
				ticket, code, message, note, http_status, sent_at, confirmed_at)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// unpackOp1 reads the blob that schema 1 kept an operation in.
func unpackOp1(b []byte, user string) (crm.Operation, error) {
	if len(b) < 4 {
		return crm.Operation{}, fmt.Errorf("%w: an operation in %d bytes", ErrDamaged, len(b))
	}
	u := unpacker{s: string(b[4:])}
	minutes := u.uint()
	op := crm.Operation{
		Action: crm.Action(b[0]), Access: crm.Access(b[1]), Related: crm.Choice(b[2]), Permissions: crm.Permissions(b[3]),
		Minutes: int(int64(minutes>>1) ^ -int64(minutes&1)),
		Object:  u.string(), Record: u.string(), Context: u.string(), User: user,
	}
	return op, u.end("operation")
}

// migrateFrom2 brings a ledger of schema 2 to this one: rows have got a status of their own,
// dates and addresses.
func migrateFrom2(c *conn) error {
	for _, table := range []string{"sheet_row", "earlier_row"} {
		script := ""
		for _, column := range []string{"status {{text}}", "due BIGINT", "last_day {{text}}", "email {{text}}"} {
			script += "ALTER TABLE " + table + " ADD COLUMN " + column + ";"
		}
		script += "UPDATE " + table + " SET status = CASE WHEN unavailable = 1 THEN 'unavailable' WHEN op IS NULL THEN 'invalid' END WHERE op IS NULL;"
		if err := c.once(script + "ALTER TABLE " + table + " DROP COLUMN unavailable;"); err != nil {
			return err
		}
	}
	return nil
}
