package ledger

import (
	"fmt"
	"strings"
)

// databaseVersion is the version of the tables in a PostgreSQL database. It is counted apart
// from that of files.
const databaseVersion = 1

// databaseTables is what this program knows of a database's history.
func databaseTables() tables { return tables{version: databaseVersion} }

// ledgerTables are the tables that all ledgers of a database share, as schema has them for
// one ledger: TestSchemasAgree compares the two. Their keys and indexes begin with the ledger.
//
// op.unconfirmed is seq of an operation that waits to be confirmed. An index on state and seq
// themselves would have every update write to every index; so an intent, which changes no
// value that an index has, is written into the page of its row alone as long as there is room
// (fillfactor).
var ledgerTables = []struct{ name, columns, with string }{
	{"meta", `name {{text}} NOT NULL, value {{text}}, PRIMARY KEY (ledger, name)`, ""},
	{"head", `id BIGINT NOT NULL, event BIGINT NOT NULL, hash BYTEA NOT NULL, opseq BIGINT NOT NULL, PRIMARY KEY (ledger)`,
		"fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000"},
	{"account", `id BIGINT NOT NULL, name {{text}} NOT NULL, crm {{text}}, host {{text}}, org {{text}}, PRIMARY KEY (ledger, id), UNIQUE (ledger, name)`, ""},
	{"email", `account BIGINT NOT NULL, address {{text}} NOT NULL, user_id {{text}} NOT NULL, PRIMARY KEY (ledger, account, address)`, ""},
	{"run", `id BIGINT NOT NULL, started BIGINT NOT NULL, ended BIGINT, version {{text}}, operator {{text}}, args {{text}}, summary {{text}}, PRIMARY KEY (ledger, id)`, ""},
	{"output", `path {{text}} NOT NULL, PRIMARY KEY (ledger, path)`, ""},
	{"event", `seq BIGINT NOT NULL, at BIGINT NOT NULL, kind {{text}} NOT NULL, body {{text}} NOT NULL, prev BYTEA NOT NULL, hash BYTEA NOT NULL, PRIMARY KEY (ledger, seq)`, ""},
	{"seen", `id BIGINT NOT NULL, call_id {{text}} NOT NULL, account BIGINT NOT NULL, run BIGINT NOT NULL, attempt BIGINT NOT NULL, sent_at BIGINT, state {{text}} NOT NULL, PRIMARY KEY (ledger, id)`, ""},
	{"sheet_row", rowTable, "autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"},
	{"earlier_row", rowTable, "autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"},
	{"op", `id BIGINT NOT NULL, account BIGINT NOT NULL,
		action {{text}} NOT NULL, object {{text}} NOT NULL, record_id {{text}} NOT NULL, context_id {{text}} NOT NULL, user_id {{text}} NOT NULL,
		access {{text}}, minutes BIGINT, related {{text}}, permissions {{text}}, record_level BIGINT NOT NULL,
		state {{text}} NOT NULL, turn BIGINT NOT NULL, ord BIGINT NOT NULL, head BIGINT NOT NULL, members BIGINT NOT NULL,
		open BIGINT NOT NULL, seq BIGINT NOT NULL, uncertain BIGINT NOT NULL, happened BIGINT NOT NULL, prior BIGINT NOT NULL,
		attempts BIGINT NOT NULL, tried BIGINT NOT NULL, first_run BIGINT, seen BIGINT, lost {{text}},
		call_id {{text}}, request_id {{text}}, ticket {{text}}, code {{text}}, message {{text}}, note {{text}}, http_status BIGINT,
		sent_at BIGINT, confirmed_at BIGINT,
		unconfirmed BIGINT GENERATED ALWAYS AS (CASE WHEN state = 'accepted' AND turn = 0 AND open = 1 AND head = id THEN seq END) STORED,
		PRIMARY KEY (ledger, id)`,
		"fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"},
}

const rowTable = `ord BIGINT NOT NULL, line BIGINT NOT NULL, cells BYTEA, op BIGINT, account BIGINT, code {{text}}, message {{text}}, status {{text}}, due BIGINT, last_day {{text}}, email {{text}}, PRIMARY KEY (ledger, ord)`

// databaseIndexes are what indexes are for a file. They stay while a sheet is imported: other
// ledgers need them.
const databaseIndexes = `
CREATE INDEX op_next ON ledger_op (ledger, account, turn, ord) WHERE turn > 0 AND head = id;
CREATE INDEX op_member ON ledger_op (ledger, head, ord) WHERE open = 1 AND head <> id;
CREATE INDEX op_unconfirmed ON ledger_op (ledger, account, unconfirmed) WHERE unconfirmed IS NOT NULL;
CREATE INDEX op_record ON ledger_op (ledger, record_id, object, account, user_id);
CREATE INDEX op_open ON ledger_op (ledger, record_id, object, account, ord) WHERE open = 1 AND head = id;
`

// databaseSchema makes the tables of a database that has none, in the schema that is there. Over each of the
// ledgers' tables stands a view that shows the rows of one ledger, and takes them, under
// the name that all statements use.
func databaseSchema() string {
	const current = "current_setting('bulkrevoke.ledger')::bigint"
	var b strings.Builder
	b.WriteString(`
		CREATE TABLE ledger_schema (version BIGINT NOT NULL);
		CREATE TABLE ledger (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name {{text}} NOT NULL UNIQUE, origin {{text}} NOT NULL, uuid {{text}} NOT NULL, made TIMESTAMPTZ NOT NULL);
	`)
	for _, t := range ledgerTables {
		fmt.Fprintf(&b, "CREATE TABLE ledger_%s (%s, ledger BIGINT NOT NULL DEFAULT %s)", t.name, t.columns, current)
		if t.with != "" {
			fmt.Fprintf(&b, " WITH (%s)", t.with)
		}
		// Between brackets the planner does not look which ledger it is. It would take one that has
		// just been imported for empty, and look at all of its rows for each.
		fmt.Fprintf(&b, ";\nCREATE VIEW %[1]s AS SELECT * FROM ledger_%[1]s WHERE ledger = (SELECT %[2]s);\n", t.name, current)
	}
	b.WriteString(databaseIndexes)
	return b.String()
}
