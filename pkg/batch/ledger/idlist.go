package ledger

import (
	"database/sql/driver"
	"maps"
	"slices"
	"strconv"
)

// listed is a query for many ids. Its first column is the id; from and id name the
// table that has it, with its alias, and the column; joins and more follow.
type listed struct{ columns, from, id, joins string }

// sparse is how many rows there may be between the first and the last of the ids,
// for each of them, so that reading all of these from front to back costs less than
// looking each one up.
const sparse = 3

// eachID hands each row of the query that the map has the id of to each, in the order
// of the ids. One query for many ids costs a fraction of a query for each.
func eachID[T any](c *conn, q listed, byID map[int64]T, each func(t T, v []driver.Value) error) error {
	if len(byID) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(byID))
	first, last := ids[0], ids[len(ids)-1]
	hand := func(v []driver.Value) error {
		t, ok := byID[integer(v[0])]
		if !ok {
			return nil
		}
		return each(t, v)
	}
	if last-first < int64(len(ids))*sparse {
		return c.query("SELECT "+q.columns+" FROM "+q.from+" "+q.joins+" WHERE "+q.id+" BETWEEN ? AND ? ORDER BY "+q.id, hand, first, last)
	}
	list := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	return c.query("SELECT "+q.columns+" FROM json_each(?) j CROSS JOIN "+q.from+" ON "+q.id+" = j.value "+q.joins, hand, string(append(list, ']')))
}
