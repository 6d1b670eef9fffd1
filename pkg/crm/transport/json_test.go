package transport

import (
	"encoding/json"
	"testing"
)

func TestText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Text{
		`{"v":" a "}`:                  "a",
		`{"v":null}`:                   "",
		`{}`:                           "",
		`{"v":4150868000002515001}`:    "4150868000002515001",
		`{"v":true}`:                   "true",
		`{"v":{"id":"5"}}`:             `{"id":"5"}`,
		`{"v":"a","v":"b"}`:            "a / b",
		`{"v":"a","V":"a"}`:            "a",
		`{"v":"a","v":null}`:           "a / ",
		`{"v":null,"v":"a"}`:           "a",
		`{"v":"\u0041 \"quoted\" \\"}`: `A "quoted" \`,
	} {
		var got struct{ V Text }
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.V != want {
			t.Errorf("%s: %q, %v; want %q", body, got.V, err, want)
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		absent bool
		list   bool
	}{
		`{"v":[1]}`:         {false, true},
		`{"v":[]}`:          {false, true},
		`{"v":null}`:        {true, true},
		`{}`:                {true, false},
		`{"v":[1],"v":[]}`:  {false, false},
		`{"v":[1],"V":[1]}`: {false, false},
	} {
		var got struct{ V Once }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		var list []int
		if isList := json.Unmarshal(got.V, &list) == nil; got.V.Absent() != want.absent || isList != want.list {
			t.Errorf("%s: absent %v, a list %v; want %+v", body, got.V.Absent(), isList, want)
		}
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{"\xef\xbb\xbf {\"v\":1} ": true, `[1]`: false, ``: false, `{"v":`: false, `"{}"`: false} {
		type object struct{ V Text }
		r := &Response{Body: []byte(body)}
		v, got := Object[object](r)
		if got != want || v == nil {
			t.Errorf("%q: %v, %v, want %v", body, v, got, want)
		}
		if again, _ := Object[object](r); want && again != v {
			t.Errorf("%q was read twice", body)
		}
		if _, ok := Object[object](&Response{Body: []byte(body), Truncated: true}); ok {
			t.Errorf("%q: cut, and read all the same", body)
		}
	}
}
