package ledger

import (
	"database/sql/driver"
	"fmt"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// This file is the seam to SQLite's own interface in C. The driver for database/sql
// above it searches the arguments of a statement anew for each parameter, allocates
// each value twice and takes a mutex at each call, which makes a row cost half as
// much again (measured 2026-11); all that a conn needs of it is here.

// openFlags open a file by its URI, with the full result codes of errors. A conn is
// used by one goroutine at a time, so that SQLite need not lock it.
const openFlags = lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_CREATE | lib.SQLITE_OPEN_URI |
	lib.SQLITE_OPEN_NOMUTEX | lib.SQLITE_OPEN_EXRESCODE

// sqliteError is what SQLite reports.
type sqliteError struct {
	code int32
	text string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.text, e.code) }

// database is an open SQLite database.
type database struct {
	tls *libc.TLS
	db  uintptr
}

func openDatabase(uri string) (database, error) {
	d := database{tls: libc.NewTLS()}
	name, err := libc.CString(uri)
	if err != nil {
		return d, err
	}
	defer libc.Xfree(d.tls, name)
	place := libc.Xcalloc(d.tls, 1, types.Size_t(unsafe.Sizeof(d.db)))
	defer libc.Xfree(d.tls, place)
	rc := lib.Xsqlite3_open_v2(d.tls, name, place, openFlags, 0)
	d.db = *(*uintptr)(pointer(place)) // even after an error there may be one
	if rc == lib.SQLITE_OK {
		rc = d.configure()
	}
	if rc != lib.SQLITE_OK {
		err := d.failure(rc)
		d.close()
		return d, err
	}
	return d, nil
}

// configure has SQLite keep the plan of a statement whatever is bound to it. It
// would otherwise prepare some anew each time, which costs more than running them.
func (d database) configure() int32 {
	args := libc.Xcalloc(d.tls, 2, 8)
	defer libc.Xfree(d.tls, args)
	return lib.Xsqlite3_db_config(d.tls, d.db, lib.SQLITE_DBCONFIG_ENABLE_QPSG, libc.VaList(args, int32(1), uintptr(0)))
}

func (d database) close() error {
	rc := lib.Xsqlite3_close_v2(d.tls, d.db)
	defer d.tls.Close()
	if rc != lib.SQLITE_OK {
		return &sqliteError{rc, libc.GoString(lib.Xsqlite3_errstr(d.tls, rc))}
	}
	return nil
}

// failure is the error behind a result code that was just returned.
func (d database) failure(rc int32) error {
	text := libc.GoString(lib.Xsqlite3_errstr(d.tls, rc))
	if d.db != 0 {
		if said := libc.GoString(lib.Xsqlite3_errmsg(d.tls, d.db)); said != text {
			text += ": " + said
		}
	}
	return &sqliteError{rc, text}
}

// run runs statements and drops what they return.
func (d database) run(script string) error {
	text, err := libc.CString(script)
	if err != nil {
		return err
	}
	defer libc.Xfree(d.tls, text)
	if rc := lib.Xsqlite3_exec(d.tls, d.db, text, 0, 0, 0); rc != lib.SQLITE_OK {
		return d.failure(rc)
	}
	return nil
}

// interrupt ends the statement that is running. Any goroutine may call it until the
// database is closed.
func (d database) interrupt() { lib.Xsqlite3_interrupt(d.tls, d.db) }

// changed is how many rows the last statement changed.
func (d database) changed() int64 { return int64(lib.Xsqlite3_changes64(d.tls, d.db)) }

// stmt is a prepared statement.
type stmt struct {
	database
	p       uintptr
	params  int
	row     []driver.Value
	running bool
	// mem is where texts and blobs stand while they are bound.
	mem     uintptr
	memSize int
}

func (d database) prepare(query string) (*stmt, error) {
	text, err := libc.CString(query)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(d.tls, text)
	place := libc.Xcalloc(d.tls, 1, types.Size_t(unsafe.Sizeof(d.db)))
	defer libc.Xfree(d.tls, place)
	if rc := lib.Xsqlite3_prepare_v3(d.tls, d.db, text, -1, lib.SQLITE_PREPARE_PERSISTENT, place, 0); rc != lib.SQLITE_OK {
		return nil, d.failure(rc)
	}
	s := &stmt{database: d, p: *(*uintptr)(pointer(place))}
	s.params = int(lib.Xsqlite3_bind_parameter_count(d.tls, s.p))
	s.row = make([]driver.Value, lib.Xsqlite3_column_count(d.tls, s.p))
	return s, nil
}

func (s *stmt) finalize() {
	lib.Xsqlite3_finalize(s.tls, s.p) // what it returns is the last error of a step
	libc.Xfree(s.tls, s.mem)
}

// bind sets all parameters: integers, texts (telling is one), blobs and nulls.
func (s *stmt) bind(args []driver.Value) error {
	if s.running || len(args) != s.params {
		return fmt.Errorf("a statement of %d parameters got %d, or is running already", s.params, len(args))
	}
	size := 0
	for _, v := range args {
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		case telling:
			size += len(v)
		}
	}
	if size >= s.memSize {
		libc.Xfree(s.tls, s.mem)
		s.memSize = max(2*size, 256)
		s.mem = libc.Xmalloc(s.tls, types.Size_t(s.memSize))
		if s.mem == 0 {
			s.memSize = 0
			return &sqliteError{lib.SQLITE_NOMEM, "out of memory"}
		}
	}
	at := 0
	for i, v := range args {
		n, rc := s.bindOne(int32(i+1), v, at)
		if rc != lib.SQLITE_OK {
			return s.failure(rc)
		}
		at += n
	}
	return nil
}

// bindOne sets one parameter. The bytes of a text or blob are put at an offset of
// the statement's memory; n is how many these are.
func (s *stmt) bindOne(i int32, v driver.Value, at int) (n int, rc int32) {
	mem := s.mem + uintptr(at)
	switch v := v.(type) {
	case int64:
		return 0, lib.Xsqlite3_bind_int64(s.tls, s.p, i, v)
	case string:
		copy(memory(mem, len(v)), v)
		return len(v), lib.Xsqlite3_bind_text(s.tls, s.p, i, mem, int32(len(v)), 0)
	case telling:
		copy(memory(mem, len(v)), v)
		return len(v), lib.Xsqlite3_bind_text(s.tls, s.p, i, mem, int32(len(v)), 0)
	case []byte:
		if v == nil {
			break
		}
		copy(memory(mem, len(v)), v)
		return len(v), lib.Xsqlite3_bind_blob(s.tls, s.p, i, mem, int32(len(v)), 0)
	case nil:
	default:
		return 0, lib.SQLITE_MISUSE
	}
	return 0, lib.Xsqlite3_bind_null(s.tls, s.p, i)
}

// step goes to the next row and says whether there is one.
func (s *stmt) step() (bool, error) {
	s.running = true
	switch rc := lib.Xsqlite3_step(s.tls, s.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		return false, s.failure(rc)
	}
}

// reset makes the statement ready to run again.
func (s *stmt) reset() {
	lib.Xsqlite3_reset(s.tls, s.p) // what it returns is the last error of a step
	s.running = false
}

// scan returns the row's values, in a slice that the next scan uses again.
func (s *stmt) scan() []driver.Value {
	for i := range s.row {
		col := int32(i)
		switch lib.Xsqlite3_column_type(s.tls, s.p, col) {
		case lib.SQLITE_INTEGER:
			s.row[i] = int64(lib.Xsqlite3_column_int64(s.tls, s.p, col))
		case lib.SQLITE_TEXT:
			p := lib.Xsqlite3_column_text(s.tls, s.p, col)
			s.row[i] = string(memory(p, int(lib.Xsqlite3_column_bytes(s.tls, s.p, col))))
		case lib.SQLITE_BLOB:
			p := lib.Xsqlite3_column_blob(s.tls, s.p, col)
			s.row[i] = append([]byte{}, memory(p, int(lib.Xsqlite3_column_bytes(s.tls, s.p, col)))...)
		default:
			s.row[i] = nil
		}
	}
	return s.row
}

// memory returns n bytes of C's memory.
func memory(p uintptr, n int) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(p)), n)
}

// pointer makes a pointer of an address in C's memory, which Go's does not move and
// does not collect.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
