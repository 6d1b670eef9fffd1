package main

import (
	"cmp"
	"log/slog"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// newLog returns the log of a command, on its screen, which takes the form that the log is
// to have.
func newLog(screen *report.Screen, o *options) *slog.Logger {
	level := slog.LevelInfo
	// The flag takes the names of slog's levels only.
	_ = level.UnmarshalText([]byte(o.logLevel.value))
	if o.quiet {
		level = max(level, slog.LevelError)
	}
	if o.logFormat.value == "json" {
		screen.UseJSON()
	}
	return screen.Log(level)
}

// wantsJSON says whether what goes to standard error is to be JSON, before anything of
// the command line, the environment or the configuration has been understood: a refusal
// of any of them is to come in this form too.
func (a *app) wantsJSON() bool {
	format, path := a.flagOf("log-format"), a.flagOf("config")
	if format != "" {
		return format == "json"
	}
	places := configPlaces()
	if path != "" {
		places = []string{path}
	}
	for _, place := range places {
		data, err := os.ReadFile(place)
		if err != nil {
			continue
		}
		var conf struct {
			LogFormat string `yaml:"log-format"`
		}
		// What is wrong with the file is told by whoever reads all of it.
		_ = yaml.Unmarshal(data, &conf)
		return conf.LogFormat == "json"
	}
	return false
}

// flagOf returns what the command line, or else the environment, gives a flag, as far as
// that can be seen; "" if they do not.
func (a *app) flagOf(name string) (value string) {
	for i, arg := range a.args {
		if arg == "--" {
			break
		}
		if text, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			value = text
		}
		if arg == "--"+name && i+1 < len(a.args) {
			value = a.args[i+1]
		}
	}
	inherited, _ := a.lookup(environmentName(name))
	return cmp.Or(value, inherited)
}
