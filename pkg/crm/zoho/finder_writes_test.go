package zoho_test

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/zoho"
)

// TestFinderHoldsNothingThatWrites walks through all that a finder holds: a client that can
// send a change is reached through a transport.Reader only.
func TestFinderHoldsNothingThatWrites(t *testing.T) {
	t.Parallel()
	f := newWorld(t, sandbox.Config{}, zoho.Config{Composite: true}).finder
	if where := writers(reflect.ValueOf(f), "finder", map[uintptr]bool{}); len(where) > 0 {
		t.Errorf("can write: %v", where)
	}
	// The walk finds what it is to find.
	p, err := zoho.New(zoho.Config{DC: "eu", ClientID: "c", ClientSecret: transport.NewSecret("s"), RefreshToken: transport.NewSecret("r")},
		transport.Config{Gate: newWorld(t, sandbox.Config{}, zoho.Config{}).gate, RoundTripper: http.DefaultTransport}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if where := writers(reflect.ValueOf(p), "provider", map[uintptr]bool{}); len(where) == 0 {
		t.Error("a provider can write, and the walk does not see it")
	}
}

// writers names the clients that are reached from a value.
func writers(v reflect.Value, name string, seen map[uintptr]bool) (where []string) {
	switch v.Type() {
	case reflect.TypeFor[transport.Client]():
		return []string{name}
	case reflect.TypeFor[transport.Reader](), reflect.TypeFor[transport.Store](), reflect.TypeFor[transport.Redactor]():
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] {
			return nil
		}
		seen[v.Pointer()] = true
		return writers(v.Elem(), name, seen)
	case reflect.Interface:
		if !v.IsNil() {
			return writers(v.Elem(), name, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			where = append(where, writers(v.Field(i), name+"."+v.Type().Field(i).Name, seen)...)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			where = append(where, writers(v.Index(i), name+"[]", seen)...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			where = append(where, writers(v.MapIndex(key), name+"[]", seen)...)
		}
	}
	return where
}
