package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// zohoSelect is the queries that are understood: the ids of a module behind one, a count of
// its records, and a count for each owner. Keywords have any case, names their own.
var zohoSelect = regexp.MustCompile(`^\s*(?i:select)\s+(id|(?i:count)\(id\)(?:\s*,\s*Owner)?)\s+(?i:from)\s+([A-Za-z][A-Za-z0-9_]*)` +
	`\s+(?i:where)\s+\(?\s*id\s*(?:(?i:is\s+not\s+null)|>\s*'?([0-9]{1,20})'?)\s*\)?` +
	`(?:\s+(?i:group\s+by)\s+(Owner))?(?:\s+(?i:order\s+by)\s+id(?i:\s+asc)?)?(?:\s+(?i:limit)\s+([0-9]{1,9}))?\s*$`)

const (
	maxRows   = 2000 // of a page
	usualRows = 200  // of a page for which no limit was named
)

// rowCredits is what a query costs that may have so many rows.
func rowCredits(limit int) int {
	switch {
	case limit <= 200:
		return 1
	case limit <= 1000:
		return 2
	}
	return 3
}

// query answers a query for ids or counts.
func (z *zoho) query(x *exchange, version int) *reply {
	var body map[string]json.RawMessage
	var text string
	if json.Unmarshal(x.body, &body) != nil {
		return zohoProblem(http.StatusBadRequest, "INVALID_DATA", "invalid data", "expected_data_type", "jsonobject").reply()
	}
	raw, there := body["select_query"]
	if !there {
		return zohoProblem(http.StatusBadRequest, "MANDATORY_NOT_FOUND", "required field not found", "api_name", "select_query", "json_path", "$.select_query").reply()
	}
	if json.Unmarshal(raw, &text) != nil {
		return invalidBody("select_query", "$.select_query").reply()
	}
	q, wrong := z.parseQuery(text, version)
	if wrong != nil {
		return wrong.reply()
	}
	if z.cfg.Credits > 0 { // one was counted when the call came
		for range rowCredits(q.limit) - 1 {
			z.credits.calls = append(z.credits.calls, x.at)
		}
	}
	rep := z.rows(q)
	if x.fault.is(FaultVanish) {
		var gone zohoGone
		if err := decodeStrictly([]byte(x.fault.Body), &gone); err != nil {
			z.server.broken = fmt.Errorf("read the body of fault %s: %w", FaultVanish, err)
			return rep
		}
		z.server.happen(&zohoEvent{Gone: &gone})
	}
	return rep
}

// zohoQuery is a query that was understood.
type zohoQuery struct {
	module, after string
	counts, owner bool
	limit         int
}

// parseQuery reads a query, or says why it is refused.
func (z *zoho) parseQuery(text string, version int) (q zohoQuery, wrong *zohoAnswer) {
	bad := func(code, message string, details ...any) (zohoQuery, *zohoAnswer) {
		return q, zohoProblem(http.StatusBadRequest, code, message, details...)
	}
	m := zohoSelect.FindStringSubmatch(text)
	switch lower := strings.ToLower(text); {
	case m != nil:
	case !strings.HasPrefix(strings.TrimSpace(lower), "select"):
		return bad("SYNTAX_ERROR", "error occured while parsing the query", "line", 1, "column", 1, "near", text[:min(len(text), 20)])
	case !strings.Contains(lower, " from "):
		return bad("SYNTAX_ERROR", "missing clause", "clause", "from")
	case !strings.Contains(lower, " where "):
		return bad("SYNTAX_ERROR", "missing clause", "clause", "where")
	default:
		return bad("INVALID_QUERY", "invalid query formed")
	}
	q = zohoQuery{module: m[2], after: m[3], counts: m[1] != "id", owner: strings.HasSuffix(m[1], "Owner"), limit: usualRows}
	most := maxRows
	if version < 4 {
		most = usualRows
	}
	if m[5] != "" {
		q.limit, _ = strconv.Atoi(m[5]) // nine digits at most
	}
	switch known := z.modules[q.module] || !z.server.cfg.Closed && slices.Contains(zohoModules, q.module) || slices.Contains(zohoNotShared, q.module); {
	case z.settings[q.module].NoQueries:
		return q, scopeMissing()
	case !known || slices.Contains(zohoNoModules, q.module) || z.settings[q.module].NoAPI:
		return bad("INVALID_QUERY", "module name given seems to be invalid", "module", q.module)
	case q.owner != (m[4] != ""):
		return bad("INVALID_QUERY", "invalid query formed", "clause", "group by")
	case q.counts && (q.after != "" || strings.Contains(strings.ToLower(text), "order by")):
		return bad("INVALID_QUERY", "invalid query formed", "clause", "order by")
	case q.limit < 1 || q.limit > most:
		return bad("LIMIT_EXCEEDED", "the limit exceeded the maximum", "clause", "limit", "limit", most)
	}
	return q, nil
}

// rows is the reply to a query: rows with what they say of themselves, or no content.
func (z *zoho) rows(q zohoQuery) *reply {
	rows, more := []map[string]any{}, false
	switch l := z.list(q.module); {
	case q.owner:
		owned := z.owned(q.module)
		for _, owner := range slices.Sorted(maps.Keys(owned)) {
			if more = len(rows) == q.limit; more {
				break
			}
			rows = append(rows, map[string]any{"count(id)": owned[owner], "Owner": map[string]string{"id": owner}})
		}
	case q.counts:
		rows = append(rows, map[string]any{"count(id)": len(l.ids) + len(l.long)})
	default:
		var ids []string
		ids, more = l.page(q.after, q.limit)
		for _, id := range ids {
			rows = append(rows, map[string]any{"id": id})
		}
	}
	if len(rows) == 0 {
		return &reply{status: http.StatusNoContent}
	}
	return jsonReply(http.StatusOK, map[string]any{"data": rows, "info": map[string]any{"count": len(rows), "more_records": more}})
}
