package zoho

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// idsPerPage is how many rows a query may ask for at most, and idsCredits what such a query
// takes of the organisation's credits.
const (
	idsPerPage = 2000
	idsCredits = 3
)

// scopeQuery is what queries need to be allowed.
const scopeQuery = "ZohoCRM.coql.READ, with ZohoCRM.modules.READ"

// queryPath is where queries go.
func queryPath(version string) string { return "/crm/" + version + "/coql" }

// queryBody is the body of a query.
type queryBody struct {
	Select string `json:"select_query"`
}

// onlySelect says what else than a select the body of a query is.
func onlySelect(body []byte) error {
	var q queryBody
	err := json.Unmarshal(body, &q)
	again, _ := json.Marshal(q) // a text: it can not fail
	if err != nil || !bytes.Equal(again, body) || !strings.HasPrefix(q.Select, "select ") {
		return errors.New("a query that is no select")
	}
	return nil
}

// query sends a query. The error is that of fetch.
func (f *Finder) query(ctx context.Context, query string) (finding, error) {
	body, _ := json.Marshal(queryBody{query}) // a text: it can not fail
	return f.fetch(ctx, scopeQuery, transport.Request{
		Op: "Query", Method: http.MethodPost, Path: queryPath(f.dialect.version), Body: body,
	})
}

// queryable returns the name of a module as a query may hold it.
func queryable(object string) (string, error) {
	object, reason := readModule(object)
	if reason != "" {
		return "", &crm.Unseen{Code: crm.CodeInvalid, Message: "the module " + reason}
	}
	return object, nil
}

// Records asks for ids page by page, each page for those behind the last one. The CRM sorts
// ids as numbers. A page that is not in order, that repeats something, or that is not what it
// says of itself, ends the list with an error: there might be ids that are missing.
func (f *Finder) Records(ctx context.Context, object, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		module, err := queryable(object)
		if err == nil && after != "" && !plain(after) {
			err = &crm.Unseen{Code: crm.CodeInvalid, Message: crm.Quote(after) + " is no Zoho record id"}
		}
		for err == nil {
			which := "id is not null"
			if after != "" {
				which = "id > " + after
			}
			var got finding
			if got, err = f.query(ctx, fmt.Sprintf("select id from %s where %s order by id limit %d", module, which, idsPerPage)); err != nil {
				break
			}
			page, why := readIDs(got.Status, got.body, after)
			if why != "" {
				err = unreliable(why)
				break
			}
			for _, id := range page.ids {
				if !yield(id, nil) {
					return
				}
			}
			if page.last {
				return
			}
			after = page.ids[len(page.ids)-1]
		}
		yield("", err)
	}
}

// idPage is a page of ids that can be relied on.
type idPage struct {
	ids  []string
	last bool // no other one follows
}

// readIDs reads the page behind an id, or says why it can not be relied on. It is pure. A page
// that is full is never the last one, whatever it says.
func readIDs(status int, body []byte, after string) (page idPage, why string) {
	var rows []struct {
		ID text `json:"id"`
	}
	about, why := readRows(status, body, &rows)
	if why != "" {
		return page, why
	}
	for _, row := range rows {
		id := string(row.ID)
		switch {
		case !plain(id):
			return idPage{}, "it holds a record without an id"
		case after != "" && !less(after, id):
			return idPage{}, "its ids are not in rising order"
		}
		page.ids, after = append(page.ids, id), id
	}
	switch {
	case len(rows) > idsPerPage:
		return idPage{}, "it holds more than was asked for"
	case len(rows) == 0 && about.more():
		return idPage{}, "it is empty, and says that more follow"
	}
	page.last = len(rows) == 0 || len(rows) < idsPerPage && about.More != "" && !about.more()
	return page, ""
}

// readRows reads the rows of a query's answer, or says why they can not be relied on.
func readRows[R any](status int, body []byte, rows *[]R) (about info, why string) {
	if nobody(status, body) {
		return about, ""
	}
	var got struct {
		Data once `json:"data"`
		Info once `json:"info"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &got) != nil || got.Data.Absent() || json.Unmarshal(got.Data, rows) != nil {
		return about, "it is no list of rows"
	}
	about, whole := readInfo(got.Info)
	count, err := strconv.Atoi(string(about.Count))
	switch {
	case !whole:
		return about, "what it says of itself can not be read"
	case about.Count != "" && (err != nil || count != len(*rows)):
		return about, "it does not hold as many rows as it says"
	case about.Count == "" && len(*rows) == 0:
		return about, "it is empty and comes without its count"
	}
	return about, ""
}

// wireCount is a row of a query that counts.
type wireCount struct {
	Count text `json:"count(id)"`
	Owner once `json:"Owner"`
}

// count returns the row's count.
func (w wireCount) count() (n int64, ok bool) {
	n, err := strconv.ParseInt(string(w.Count), 10, 64)
	return n, err == nil && n >= 0
}

// Count asks how many records a module has.
func (f *Finder) Count(ctx context.Context, object string) (int64, error) {
	module, err := queryable(object)
	if err != nil {
		return 0, err
	}
	got, err := f.query(ctx, "select count(id) from "+module+" where id is not null")
	if err != nil {
		return 0, err
	}
	n, why := readCount(got.Status, got.body)
	if why != "" {
		return 0, unreliable(why)
	}
	return n, nil
}

// readCount reads the answer to a count, or says why it can not be relied on. It is pure.
func readCount(status int, body []byte) (n int64, why string) {
	var rows []wireCount
	about, why := readRows(status, body, &rows)
	switch {
	case why != "":
		return 0, why
	case len(rows) == 0 && nobody(status, body):
		return 0, ""
	case len(rows) != 1 || about.more():
		return 0, "it is not one count"
	}
	n, ok := rows[0].count()
	if !ok {
		return 0, "it holds no count"
	}
	return n, ""
}

// Owned asks how many records of a module everybody owns, with one query: an organisation
// with more owners than a page has rows is not counted.
func (f *Finder) Owned(ctx context.Context, object string) (map[string]int64, error) {
	module, err := queryable(object)
	if err != nil {
		return nil, err
	}
	got, err := f.query(ctx, fmt.Sprintf("select count(id), Owner from %s where id is not null group by Owner limit %d", module, idsPerPage))
	if err != nil {
		return nil, err
	}
	owned, why := readOwned(got.Status, got.body)
	if why != "" {
		return nil, unreliable(why)
	}
	return owned, nil
}

// readOwned reads the answer to a count by owners, or says why it can not be relied on. It is
// pure.
func readOwned(status int, body []byte) (owned map[string]int64, why string) {
	var rows []wireCount
	about, why := readRows(status, body, &rows)
	switch {
	case why != "":
		return nil, why
	case about.more():
		return nil, fmt.Sprintf("more than %d people own something", len(rows))
	}
	owned = make(map[string]int64, len(rows))
	for _, row := range rows {
		var owner struct{ ID text }
		n, ok := row.count()
		unread := json.Unmarshal(row.Owner, &owner) != nil
		id := string(owner.ID)
		_, again := owned[id]
		switch {
		case !ok:
			return nil, "it holds a row without a count"
		case unread || !number.MatchString(id):
			return nil, "it holds a row without an owner"
		case again:
			return nil, "it holds an owner twice"
		}
		owned[id] = n
	}
	return owned, ""
}
