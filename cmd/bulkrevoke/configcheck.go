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

// readAccounts reads the accounts of a configuration.
func (ks kinds) readAccounts(node *yaml.Node, accounts map[string]accountConfig) error {
	example := "accounts: holds a name for each account, and below each name its keys, such as crm: " + ks[len(ks)-1].name
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s", node.Line, example)
	}
	if err := node.Decode(new(map[string]yaml.Node)); err != nil { // two of one name
		return inOneLine(err)
	}
	for name, account := range pairs(node) {
		if account.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: %s", name.Line, example)
		}
		if err := ks.checkKeys(account); err != nil {
			return fmt.Errorf("account %q: %w", name.Value, err)
		}
		var conf accountConfig
		err := account.Decode(&conf)
		if k, ok := ks.named(conf.CRM); ok && err == nil {
			conf.Keys = k.keys()
			err = account.Decode(conf.Keys)
		}
		if err != nil {
			return inOneLine(err)
		}
		if err := ks.checkAccount(name.Value, conf); err != nil {
			return fmt.Errorf("account %q: %w", name.Value, err)
		}
		accounts[name.Value] = conf
	}
	return nil
}

// checkKeys says whether an account has the keys that it can have, each once, with values
// that can be read. One of an unknown CRM can have those of all CRMs: what is wrong is its
// CRM.
func (ks kinds) checkKeys(account *yaml.Node) error {
	own, ok := ks.named(valueOf(account, "crm"))
	fields, others := yamlFields(reflect.TypeFor[accountConfig]()), map[string]reflect.Type{}
	for _, k := range ks {
		into := others
		if !ok || k.name == own.name {
			into = fields
		}
		maps.Copy(into, yamlFields(reflect.TypeOf(k.keys()).Elem()))
	}
	seen := map[string]int{}
	for key, value := range pairs(account) {
		t, ours := fields[key.Value]
		line, twice := seen[key.Value]
		switch {
		case !ours && others[key.Value] != nil:
			return fmt.Errorf("line %d: %s: does not belong to a %s account", key.Line, key.Value, own.name)
		case !ours:
			return fmt.Errorf("line %d: %s is not a key of an account%s", key.Line, key.Value, didYouMean(key.Value, slices.Sorted(maps.Keys(fields))))
		case twice:
			return fmt.Errorf("line %d: %s: is there already, in line %d", key.Line, key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := checkValue(key, value, t); err != nil {
			return err
		}
	}
	return nil
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
	if t.Kind() == reflect.Slice {
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
	const most = 60
	text := value.Value
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return strconv.Quote(text)
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
