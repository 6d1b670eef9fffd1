package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// config is the configuration: a file, or what the environment says without one.
type config struct {
	Path     string                   `yaml:"-"` // "" without a file
	Default  string                   `yaml:"default"`
	Accounts map[string]accountConfig `yaml:"accounts"`
	Protect  []string                 `yaml:"protect"`
	Columns  columnNames              `yaml:"columns"`
	// DatabasePassword is where the password of the database is: env:NAME or file:/path.
	DatabasePassword string `yaml:"database_password"`
	// Flags holds everything else: flags of `run` by their long names.
	Flags map[string]yaml.Node `yaml:"-"`
}

// accountConfig is one account as the file has it.
type accountConfig struct {
	CRM        string  `yaml:"crm"`
	Limit      string  `yaml:"limit"`
	Share      float64 `yaml:"share"`
	Workers    int     `yaml:"workers"`
	DailyCalls int     `yaml:"daily_calls"`
	CAFile     string  `yaml:"ca_file"`
	Keys       keys    `yaml:"-"` // those of its CRM, which stand beside the others
}

// duration is a time span as the file writes it, such as 2s.
type duration time.Duration

// UnmarshalYAML reads what time.ParseDuration takes, and nothing negative.
func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	v, err := time.ParseDuration(node.Value)
	if err != nil || v < 0 {
		return fmt.Errorf("line %d: %q is not a time span such as 2s", node.Line, node.Value)
	}
	*d = duration(v)
	return nil
}

// configName is what a configuration file is called.
const configName = "bulkrevoke.yaml"

// readConfig reads the file at path; if path is empty, the one in the working
// folder, then the one in the user's configuration folder, then the environment.
func readConfig(ctx context.Context, path string, known kinds, lookup func(string) (string, bool)) (config, error) {
	if path != "" {
		return readConfigFile(ctx, path, known)
	}
	for _, candidate := range configPlaces() {
		cfg, err := readConfigFile(ctx, candidate, known)
		if !errors.Is(err, fs.ErrNotExist) {
			return cfg, err
		}
	}
	return known.fromEnvironment(lookup), nil
}

// configPlaces are where the configuration is looked for, the first that is there counts.
func configPlaces() []string {
	places := []string{configName}
	if dir, err := os.UserConfigDir(); err == nil {
		places = append(places, filepath.Join(dir, "bulkrevoke", configName))
	}
	return places
}

func readConfigFile(ctx context.Context, path string, known kinds) (config, error) {
	data, err := within(ctx, func() ([]byte, error) { return os.ReadFile(path) })
	if ctx.Err() != nil {
		return config{}, context.Cause(ctx)
	}
	if err != nil {
		return config{}, refusef("Name another with --config.", "read configuration %s: %w", path, report.Reason(err))
	}
	cfg, err := parseConfig(data, known)
	if err != nil {
		return config{}, refusef("", "%s: %w", path, err)
	}
	cfg.Path = path
	return cfg, nil
}

// parseConfig reads YAML and refuses what it does not know, so that whoever wrote it is told
// the line, the key and what could stand there. That the flags among the keys exist is
// checked where flags are known.
func parseConfig(data []byte, known kinds) (config, error) {
	var cfg config
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return cfg, plainYAMLError(err, data)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return cfg, errors.New("a second document in the file; one is read")
	}
	root := &yaml.Node{Kind: yaml.MappingNode} // of an empty file
	if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
		root = doc.Content[0]
	}
	if root.Kind != yaml.MappingNode {
		return cfg, fmt.Errorf("line %d: the file holds keys with values, such as default: main", root.Line)
	}
	fields, flags, accounts := yamlFields(reflect.TypeFor[config]()), map[string]yaml.Node{}, map[string]accountConfig{}
	for key, value := range pairs(root) {
		var err error
		switch t, ours := fields[key.Value]; {
		case key.Value == "account" && value.Kind == yaml.MappingNode:
			err = fmt.Errorf("line %d: account: names the one account of rows that name none; a list of accounts stands under the key accounts", key.Line)
		case key.Value == "accounts":
			err = known.readAccounts(value, accounts)
		case ours:
			err = checkValue(key, value, t)
		default:
			flag := *value
			flag.Line = key.Line
			flags[key.Value] = flag
		}
		if err != nil {
			return cfg, err
		}
	}
	if err := root.Decode(&cfg); err != nil {
		return cfg, inOneLine(err)
	}
	cfg.Accounts, cfg.Flags = accounts, flags
	for i, who := range cfg.Protect {
		who = plainID(who)
		cfg.Protect[i] = who
		if !strings.Contains(who, "@") && crm.MistakenID(who) != "" {
			return cfg, fmt.Errorf("protect: %q %s", who, crm.MistakenID(who))
		}
		if !userOrAddress.MatchString(who) {
			return cfg, fmt.Errorf("protect: %q is neither a user's id nor an e-mail address, and would protect nobody", who)
		}
	}
	if cfg.Default != "" {
		if _, reason := cfg.accountNamed(cfg.Default); reason != "" {
			return cfg, fmt.Errorf("default: %s", reason)
		}
	}
	return cfg, nil
}

// inOneLine returns what the library says of values that do not fit; what a type of ours
// says stays as it is.
func inOneLine(err error) error {
	if several, ok := errors.AsType[*yaml.TypeError](err); ok {
		return errors.New(strings.Join(several.Errors, "; "))
	}
	return err
}

// userOrAddress is what names a user: an address, a GUID or digits.
var userOrAddress = regexp.MustCompile(`^([^@\s]+@[^@\s]+|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9]{1,20})$`)

// accountName is what an account may be called: it stands in sheets, messages and
// ledgers.
var accountName = regexp.MustCompile(`^[\pL\pN][\pL\pN ._-]{0,63}$`)

// checkAccount checks what can be checked without asking anybody.
func (ks kinds) checkAccount(name string, a accountConfig) error {
	if !accountName.MatchString(name) {
		return errors.New("the name may hold letters, digits, spaces, . _ and -, and at most 64 of them")
	}
	switch {
	case a.CRM == "":
		return fmt.Errorf("crm: is missing; it is %s", strings.Join(ks.names(), " or "))
	case a.Keys == nil:
		return fmt.Errorf("crm: %q is not one of %s", a.CRM, strings.Join(ks.names(), ", "))
	}
	if a.Limit != "" {
		if _, err := parseLimit(a.Limit); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
	}
	if a.Share < 0 || a.Share > 1 {
		return fmt.Errorf("share: %v must be more than 0 and at most 1", a.Share)
	}
	return a.Keys.check()
}

// fromEnvironment returns the accounts that the environment describes.
func (ks kinds) fromEnvironment(lookup func(string) (string, bool)) config {
	cfg := config{Accounts: map[string]accountConfig{}}
	for _, k := range ks {
		keys := k.environment(func(name string) string {
			value, _ := lookup(name)
			return strings.TrimSpace(value)
		})
		if keys != nil {
			cfg.Accounts[k.name] = accountConfig{CRM: k.name, Keys: keys}
		}
	}
	return cfg
}

// valueIn returns what looks a variable up in a list of NAME=value.
func valueIn(variables []string) func(name string) string {
	return func(name string) string {
		for _, variable := range variables {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	}
}
