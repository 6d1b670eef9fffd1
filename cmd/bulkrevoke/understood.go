package main

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// understood returns the flags of `run` as far as they can be made out of a command
// line, an environment and a configuration in which something may be wrong, and the
// sheet, "" if that is not clear. What is wrong itself is told by whoever reads it in
// earnest.
func (a *app) understood() (o *options, name string) {
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
	line = slices.Clone(line)
	for {
		loose := pflag.NewFlagSet("", pflag.ContinueOnError)
		loose.BoolP("help", "h", false, "")
		known.VisitAll(func(f *pflag.Flag) {
			loose.StringP(f.Name, f.Shorthand, "", "")
			loose.Lookup(f.Name).NoOptDefVal = f.NoOptDefVal
		})
		err := loose.Parse(line)
		if err == nil {
			values = map[string]string{}
			loose.Visit(func(f *pflag.Flag) { values[f.Name] = f.Value.String() })
			return values, loose.Args()
		}
		i := -1 // the word that it fails at
		switch e, unknown := errors.AsType[*pflag.NotExistError](err); {
		case unknown && e.GetSpecifiedShortnames() != "":
			i = slices.Index(line, "-"+e.GetSpecifiedShortnames())
		case unknown:
			i = slices.IndexFunc(line, func(word string) bool {
				word, _, _ = strings.Cut(word, "=")
				return word == "--"+e.GetSpecifiedName()
			})
		default:
			i = len(line) - 1 // a flag without its value
		}
		if i < 0 {
			return nil, nil
		}
		line = slices.Delete(line, i, i+1)
	}
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
