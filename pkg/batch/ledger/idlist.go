package ledger

import (
	"database/sql/driver"
	"maps"
	"slices"
	"strconv"
)

// eachID runs a query over json_each(?) of the map's ids, in their order, and hands
// each row to each with the value that the row's first column is the id of. One
// query for many ids costs a fraction of a query for each.
func eachID[T any](c *conn, query string, byID map[int64]T, each func(t T, v []driver.Value) error) error {
	if len(byID) == 0 {
		return nil
	}
	list := []byte{'['}
	for i, id := range slices.Sorted(maps.Keys(byID)) {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	return c.query(query, func(v []driver.Value) error {
		return each(byID[integer(v[0])], v)
	}, string(append(list, ']')))
}
