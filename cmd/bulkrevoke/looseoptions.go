package main

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// looseOptions returns the flags of `run` as far as they can be made out of a command
// line, an environment and a configuration in which something may be wrong, and the
// sheet, "" if that is not clear. What is wrong itself is told by whoever reads it in
// earnest.
func (a *app) looseOptions() (o *options, name string) {
	o = newOptions()
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.addRunFlags(flags)
	given, args := looseFlags(flags, a.args)
	set := func(values map[string]string) {
		flags.VisitAll(func(f *pflag.Flag) {
			if value := values[f.Name]; value != "" && !f.Changed {
				_ = flags.Set(f.Name, value)
			}
		})
	}
	set(given)
	_ = fillFromEnvironment(flags, a.lookup)
	set(looseConfig(o.config))
	args = slices.DeleteFunc(args, func(arg string) bool { return arg == "run" })
	if len(args) > 1 { // some of them may be the values of flags that there are not
		args = slices.DeleteFunc(args, func(arg string) bool { return !looksLikeSheet(arg) })
	}
	if len(args) == 1 {
		name = args[0]
	}
	return o, name
}

// looseFlags returns what a command line gives the flags of a set, whether they take it
// or not, and the words that are no flags.
func looseFlags(known *pflag.FlagSet, line []string) (values map[string]string, args []string) {
	values = map[string]string{}
	for len(line) > 0 {
		word := line[0]
		line = line[1:]
		name, value, given := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		f := known.Lookup(name)
		switch {
		case word == "--":
			return values, append(args, line...)
		case word == "-" || !strings.HasPrefix(word, "-"):
			args = append(args, word)
			continue
		case !strings.HasPrefix(word, "--"):
			f, value = known.ShorthandLookup(word[1:2]), strings.TrimPrefix(word[2:], "=")
			given = value != ""
		}
		if f == nil {
			continue // nobody knows whether the next word is its value
		}
		switch {
		case given:
		case f.NoOptDefVal != "":
			value = f.NoOptDefVal
		case len(line) > 0:
			value, line = line[0], line[1:]
		}
		values[f.Name] = value
	}
	return values, args
}

// settingLine is a single value at the top of a configuration.
var settingLine = regexp.MustCompile(`(?m)^([a-z][a-z-]*):[ \t]+["']?([^"'#\s][^"'#\n]*?)["']?[ \t]*(#.*)?$`)

// looseConfig returns the single values at the top of the configuration, that at path or
// the first that is there, whether it is in order or not.
func looseConfig(path string) map[string]string {
	places := configPlaces()
	if path != "" {
		places = []string{path}
	}
	values := map[string]string{}
	for _, place := range places {
		info, err := os.Stat(place)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		data, err := os.ReadFile(place)
		if err != nil {
			continue
		}
		var top map[string]yaml.Node
		if yaml.Unmarshal(data, &top) != nil {
			for _, m := range settingLine.FindAllStringSubmatch(string(data), -1) {
				values[m[1]] = m[2]
			}
			break
		}
		for name, node := range top {
			if node.Kind == yaml.ScalarNode {
				values[name] = node.Value
			}
		}
		break
	}
	return values
}
