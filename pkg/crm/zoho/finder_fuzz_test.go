package zoho

import (
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// FuzzFinderAnswers: whatever an answer holds, what is believed of it is sound.
func FuzzFinderAnswers(f *testing.F) {
	for _, body := range []string{
		`{"data":[{"id":"5"},{"id":"10"}],"info":{"count":2,"more_records":true}}`,
		`{"data":[{"id":5},{"id":"5"}],"info":{"count":"2","more_records":"false"}}`,
		`{"data":[{"count(id)":3,"Owner":{"id":"7","name":"A"}},{"COUNT(ID)":"2","Owner":{"id":7}}],"info":{"count":2}}`,
		`{"data":[{"count(id)":99999999999999999999}],"info":{"count":1}}`,
		`{"data":[],"data":[{"id":"1"}],"info":null}`,
		`{"user_groups":[{"id":"7","name":"Sales","sources":[{"type":"users"}]}],"info":{"page":1,"count":1,"more_records":false}}`,
		`{"modules":[{"api_name":"Leads","api_supported":true,"generated_type":"default"},{"api_name":"Members","api_supported":true,"generated_type":"linking"}]}`,
		`{"modules":[{"api_name":null,"api_supported":false},{"api_name":"Boats","api_supported":"true","generated_type":"custom"}]}`,
		`{"data_sharing":[{"share_type":"public","module":{"api_name":"Deals","id":"1"}}]}`,
		`{"data_sharing":[{"share_type":["public"],"module":"Deals"}]}`,
		``, `null`, `[]`, `{"data":{}}`,
	} {
		f.Add(200, []byte(body), "4", uint8(1))
	}
	f.Add(204, []byte(``), "", uint8(2))
	f.Fuzz(func(t *testing.T, status int, body []byte, after string, page uint8) {
		if !plain(after) {
			after = ""
		}
		ids, why := readIDs(status, body, after)
		last := after
		for _, id := range ids.ids {
			if !plain(id) || last != "" && !less(last, id) || why != "" {
				t.Fatalf("ids %v behind %q (%s)", ids.ids, after, why)
			}
			last = id
		}
		if why == "" && !ids.last && len(ids.ids) == 0 {
			t.Fatal("an empty page that does not get on")
		}
		if n, why := readCount(status, body); n < 0 || n > 0 && why != "" {
			t.Fatalf("count %d (%s)", n, why)
		}
		owned, why := readOwned(status, body)
		for id, n := range owned {
			if !number.MatchString(id) || n < 0 || why != "" {
				t.Fatalf("%q owns %d (%s)", id, n, why)
			}
		}
		groups, _, why := readGroups(status, body, int(page))
		for _, g := range groups {
			if !number.MatchString(g.ID) || why != "" {
				t.Fatalf("group %+v (%s)", g, why)
			}
		}
		modules, why := readModules(status, body)
		known := map[string]bool{}
		for _, m := range modules {
			if !moduleName.MatchString(m.Name) || known[m.Name] || m.Public || why != "" {
				t.Fatalf("module %+v (%s)", m, why)
			}
			known[m.Name] = true
		}
		if public, why := readPublic(status, body); public == nil && why == "" {
			t.Fatal("neither an answer nor a reason")
		}
	})
}

// FuzzComposite: parts that name themselves are each somebody's own.
func FuzzComposite(f *testing.F) {
	part := func(id, status string) string {
		return `{"sub_request_id":` + id + `,"code":"SUCCESS","status":"success","message":"m","details":{"response":{"status_code":` + status + `,"body":{"share":[]}}}}`
	}
	for _, parts := range []string{
		part(`"look2"`, "200") + "," + part(`"look1"`, "204"), part(`"look1"`, "200") + "," + part(`"look1"`, "200"),
		part(`null`, "200") + "," + part(`"look2"`, "200"), part(`"look1"`, "200") + "," + part(`null`, "200"),
		part(`"look3"`, "200") + "," + part(`"look1"`, "200"), part(`null`, "200") + "," + part(`null`, "400"),
	} {
		f.Add([]byte(`{"__composite_requests":[` + parts + `]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		out, named := readComposite(body, 2)
		if len(out) != 2 {
			t.Fatalf("%d answers to two parts", len(out))
		}
		for i := range out {
			if named && strings.Count(string(body), subID(i)) == 0 && !strings.Contains(string(body), `\u`) {
				t.Fatalf("an answer to %s that nobody named", subID(i))
			}
		}
	})
}

func TestCompositePartsByName(t *testing.T) {
	t.Parallel()
	part := func(id, status string) string {
		return `{"sub_request_id":` + id + `,"code":"SUCCESS","status":"success","details":{"response":{"status_code":` + status + `,"body":{"share":[]}}}}`
	}
	for _, c := range []struct {
		parts string
		named bool
		want  [2]int // the HTTP status of each; 0 for none
	}{
		{part(`"look2"`, "201") + "," + part(`"look1"`, "200"), true, [2]int{200, 201}},
		{part(`"look1"`, "200") + "," + part(`"look2"`, "201"), true, [2]int{200, 201}},
		{part(`null`, "200") + "," + part(`null`, "201"), false, [2]int{200, 201}},
		{part(`"look1"`, "200") + "," + part(`"look1"`, "201"), false, [2]int{}},
		{part(`null`, "200") + "," + part(`"look2"`, "201"), false, [2]int{}},
		{part(`"look1"`, "200") + "," + part(`null`, "201"), false, [2]int{}},
		{part(`"look3"`, "200") + "," + part(`"look1"`, "201"), false, [2]int{}},
	} {
		out, named := readComposite([]byte(`{"__composite_requests":[`+c.parts+`]}`), 2)
		for i, want := range c.want {
			if got := out[i]; named != c.named || (got == nil) != (want == 0) || got != nil && got.Status != want {
				t.Errorf("%s: part %d is %+v, named %v, want %d, %v", c.parts, i, got, named, want, c.named)
			}
		}
	}
}

// TestPlacesAreLearnt: an order is relied on after enough lists in their places, and never
// again after one that was not.
func TestPlacesAreLearnt(t *testing.T) {
	t.Parallel()
	looks := []wanted{{"Leads", "1"}, {"Leads", "2"}, {"Leads", "3"}}
	of := func(ids ...string) (parts []*transport.Response) {
		for _, id := range ids {
			if id == "" {
				parts = append(parts, nil)
				continue
			}
			parts = append(parts, &transport.Response{Status: 200, Body: []byte(`{"share":[{"shared_through":{"id":"` + id + `"}}]}`)})
		}
		return parts
	}
	var none *places
	p := &places{}
	for n := range 3 * mostWitnesses {
		if p.right(of("", "2", ""), looks) {
			t.Fatal("the one in the middle is no witness")
		}
		if p.right(of("9", "", "9"), looks) {
			t.Fatal("another record is no witness")
		}
		if p.right(of("1", "", ""), []wanted{looks[0], {"Deals", "1"}, looks[2]}) {
			t.Fatal("one of two with that id is no witness")
		}
		if none.wrong(); none.right(of("1", "2", "3"), looks) {
			t.Fatalf("nothing is relied on where nothing is learnt (%d)", n)
		}
	}
	for n := range mostWitnesses {
		if got, want := p.right(of("1", "2", "3"), looks), n == mostWitnesses-1; got != want {
			t.Fatalf("after %d witnesses: got %v", n+1, got)
		}
	}
	if !p.right(of("", "", ""), looks) {
		t.Error("a bundle without a list is believed then")
	}
	if p.wrong(); p.right(of("1", "2", "3"), looks) {
		t.Error("relied on after a list was in another's place")
	}
}

// TestReadersPostNothingElse: what a finder's client takes for a POST is what a finder writes.
func TestReadersPostNothingElse(t *testing.T) {
	t.Parallel()
	const look = `{"sub_request_id":"look1","method":"GET","uri":"/crm/v8/Leads/1/actions/share"}`
	whole := func(sub string) string { return `{"__composite_requests":[` + sub + `],"parallel_execution":false}` }
	for body, ok := range map[string]bool{
		whole(look): true,
		whole(strings.Replace(look, "GET", "DELETE", 1)):                                false,
		whole(strings.Replace(look, `"GET"`, `"DELETE","method":"GET"`, 1)):             false,
		whole(strings.Replace(look, `"}`, `","body":{"share":[]}}`, 1)):                 false,
		whole(strings.Replace(look, `"}`, `","headers":{"x-method":"PUT"}}`, 1)):        false,
		whole(strings.Replace(look, "/share", "/share/../x", 1)):                        false,
		whole(strings.Replace(look, "/crm/v8/Leads/1/actions/share", "/crm/v8/org", 1)): false,
		`{"__composite_requests":[` + look + `],"rollback_on_fail":true}`:               false,
		``: false, `[]`: false,
	} {
		if err := onlyLooks([]byte(body)); (err == nil) != ok {
			t.Errorf("%s: got %v, want ok %v", body, err, ok)
		}
	}
	for body, ok := range map[string]bool{
		`{"select_query":"select id from Leads where id is not null"}`: true,
		`{"select_query":"delete from Leads"}`:                         false,
		`{"select_query":"x","select_query":"select id"}`:              false,
		`{"select_query":"select id","other":1}`:                       false,
		``:                                                             false,
	} {
		if err := onlySelect([]byte(body)); (err == nil) != ok {
			t.Errorf("%s: got %v, want ok %v", body, err, ok)
		}
	}
}
