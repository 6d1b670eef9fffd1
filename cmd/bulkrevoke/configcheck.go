package main

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// checkDocument holds a configuration against what it is read into, so that whoever
// wrote it is told the line, the key and what could stand there. That the keys beside
// these are flags is checked where flags are known.
func checkDocument(doc *yaml.Node, known kinds) error {
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return nil // an empty file
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil // nothing but comments
	}
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: the file holds keys with values, such as default: main", root.Line)
	}
	fields := yamlFields(reflect.TypeFor[config]())
	for key, value := range pairs(root) {
		switch t, ours := fields[key.Value]; {
		case key.Value == "account" && value.Kind == yaml.MappingNode:
			return fmt.Errorf("line %d: account: names the one account of rows that name none; a list of accounts stands under the key accounts", key.Line)
		case key.Value == "accounts":
			if err := checkAccounts(value, known); err != nil {
				return err
			}
		case ours:
			if err := checkValue(key, value, t); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkAccounts(accounts *yaml.Node, known kinds) error {
	example := "accounts: holds a name for each account, and below each name its keys, such as crm: " + known[len(known)-1].name
	if accounts.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s", accounts.Line, example)
	}
	for name, account := range pairs(accounts) {
		if account.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: %s", name.Line, example)
		}
		fields, others := known.fields(account)
		seen := map[string]int{}
		for key, value := range pairs(account) {
			t, ours := fields[key.Value]
			err := error(nil)
			switch line, twice := seen[key.Value]; {
			case others[key.Value]:
				err = fmt.Errorf("line %d: %s: does not belong to a %s account", key.Line, key.Value, valueOf(account, "crm"))
			case !ours:
				err = fmt.Errorf("line %d: %s is not a key of an account%s", key.Line, key.Value, didYouMean(key.Value, slices.Sorted(maps.Keys(fields))))
			case twice:
				err = fmt.Errorf("line %d: %s: is there already, in line %d", key.Line, key.Value, line)
			default:
				seen[key.Value] = key.Line
				err = checkValue(key, value, t)
			}
			if err != nil {
				return fmt.Errorf("account %q: %w", name.Value, err)
			}
		}
	}
	return nil
}

// fields returns the types of the keys that an account can have, and which keys are those
// of other CRMs. One of an unknown CRM can have all of them: what is wrong is its CRM.
func (ks kinds) fields(account *yaml.Node) (fields map[string]reflect.Type, others map[string]bool) {
	fields, others = yamlFields(reflect.TypeFor[accountConfig]()), make(map[string]bool)
	own, ok := ks.named(valueOf(account, "crm"))
	for _, k := range ks {
		for key, t := range yamlFields(reflect.TypeOf(k.keys()).Elem()) {
			if !ok || k.name == own.name {
				fields[key] = t
			} else {
				others[key] = true
			}
		}
	}
	for key := range fields {
		delete(others, key)
	}
	return fields, others
}

// valueOf returns the value of a key, "" if it has none.
func valueOf(mapping *yaml.Node, name string) string {
	for key, value := range pairs(mapping) {
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if key.Value == name {
			return value.Value
		}
	}
	return ""
}

// checkValue says whether a value can be read into a field of that type. Numbers are
// more than 0: who wants a default leaves the key out.
func checkValue(key, value *yaml.Node, t reflect.Type) error {
	bad := func(want string) error {
		return fmt.Errorf("line %d: %s: %s", value.Line, key.Value, quoted(value)+want)
	}
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) {
		return nil // it says itself what is wrong
	}
	switch t.Kind() {
	case reflect.Slice:
		if value.Kind != yaml.SequenceNode {
			return bad(" is not a list; write [one, another]")
		}
		for _, item := range value.Content {
			if err := checkValue(key, item, t.Elem()); err != nil {
				return err
			}
		}
		return nil
	}
	if value.Kind != yaml.ScalarNode {
		return bad("must be a single value")
	}
	switch t.Kind() {
	case reflect.Bool:
		if value.Tag != "!!bool" {
			return bad(" is neither true nor false")
		}
	case reflect.Int:
		n, err := strconv.Atoi(value.Value)
		switch {
		case err != nil:
			return bad(" is not a whole number")
		case n < 0:
			return bad(" can not be negative; leave the key out for its default")
		case n == 0:
			return bad(" must be more than 0; leave the key out for its default")
		}
	case reflect.Float64:
		v, err := strconv.ParseFloat(value.Value, 64)
		switch {
		case err != nil || math.IsNaN(v):
			return bad(" is not a number")
		case v == 0:
			return bad(" must be more than 0 and at most 1; leave the key out for its default")
		}
	}
	return nil
}

// quoted is a value as messages repeat it: a single one, and not too long.
func quoted(value *yaml.Node) string {
	if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
		return ""
	}
	return strconv.Quote(cut(value.Value, 60))
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n]) + "..."
	}
	return s
}

// pairs ranges over the keys and values of a mapping.
func pairs(mapping *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], mapping.Content[i+1]) {
				return
			}
		}
	}
}

// lineOf returns the line in which a key at the top of the file stands, 0 if there is none.
func lineOf(doc *yaml.Node, name string) int {
	for key := range pairs(doc.Content[0]) {
		if key.Value == name {
			return key.Line
		}
	}
	return 0
}

// yamlFields returns the types of a struct's fields by their keys.
func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = field.Type
		}
	}
	return fields
}

// didYouMean is the end of a sentence about a word that is none of the choices: the
// nearest of them, or "" if none is near.
func didYouMean(word string, choices []string) string {
	if near := sheet.Near(word, choices...); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// yamlLine finds the line in what the library says about a file that is no YAML.
var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// plainYAMLError says what is wrong with a file that is no YAML.
func plainYAMLError(err error, data []byte) error {
	for n, line := range strings.Split(string(data), "\n") {
		if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") {
			return fmt.Errorf("line %d: is indented with a tab; in YAML only spaces indent", n+1)
		}
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("line %s: is not valid YAML: %s", m[1], m[2])
	}
	return fmt.Errorf("is not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
}
