package zoho

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const (
	// What the lists of modules and of their defaults need to be allowed.
	scopeModules     = "ZohoCRM.settings.modules.READ"
	scopeDataSharing = "ZohoCRM.settings.data_sharing.READ"
	// mostModuleBytes bounds the list of modules, of a few kilobytes each, and
	// mostModules how many there may be.
	mostModuleBytes = 16 << 20
	mostModules     = 5_000
)

// Modules lists the modules that the API serves, those first that every organisation has,
// and says of those that can not be looked at why. Where the CRM does not tell which of them
// are public, that is logged, and none counts as public: looking at their records costs
// calls, and is right.
func (f *Finder) Modules(ctx context.Context) ([]crm.Module, error) {
	got, err := f.fetch(ctx, scopeModules, f.settings("Modules", "modules"))
	if err != nil {
		return nil, err
	}
	modules, why := readModules(got.Status, got.body)
	if why != "" {
		return nil, unreliable(why)
	}
	public := map[string]bool{}
	got, err = f.fetch(ctx, scopeDataSharing, f.settings("DataSharing", "data_sharing"))
	if err == nil {
		if public, why = readPublic(got.Status, got.body); why != "" {
			err = unreliable(why)
		}
	}
	if hidden, ok := errors.AsType[*crm.Unseen](err); ok {
		f.log.Warn("the CRM does not tell which modules are public; records of all are looked at", "code", hidden.Code, "message", hidden.Message)
	} else if err != nil {
		return nil, err
	}
	for i := range modules {
		modules[i].Public = public[modules[i].Name]
	}
	return modules, nil
}

// settings is a request for a part of the organisation's settings.
func (f *Finder) settings(op, part string) transport.Request {
	return transport.Request{Op: op, Path: "/crm/" + f.dialect.version + "/settings/" + part, MaxBody: mostModuleBytes}
}

// readModules reads the list of modules, or says why it can not be relied on. It is pure.
func readModules(status int, body []byte) (modules []crm.Module, why string) {
	var got struct {
		Modules once `json:"modules"`
		Info    once `json:"info"`
	}
	var list []struct {
		Name      text `json:"api_name"`
		Served    text `json:"api_supported"`
		Generated text `json:"generated_type"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &got) != nil || got.Modules.Absent() || json.Unmarshal(got.Modules, &list) != nil {
		return nil, "it is no list of modules"
	}
	about, whole := readInfo(got.Info)
	if !whole || about.more() || !about.fits(1, len(list)) || len(list) == 0 || len(list) > mostModules {
		return nil, "the list of modules is not whole"
	}
	known := map[string]bool{}
	for _, m := range list {
		name, generated := string(m.Name), strings.ToLower(string(m.Generated))
		standard, shared := standardModule(name)
		served := m.Served == "true"
		custom := generated == "custom"
		switch {
		case m.Name == "" && !served:
			continue // it has no name for the API
		case !moduleName.MatchString(name):
			return nil, "it holds a module without a name"
		case known[name]:
			return nil, "it holds a module twice"
		case !served && standard == "" && !custom && generated != "linking":
			continue // a page of the web application, such as Home
		}
		known[name] = true
		module := crm.Module{Name: name}
		switch {
		case standard != "" && !shared:
			module.Skip = "Zoho shares no activities by themselves"
		case generated == "linking":
			module.Skip = "Zoho shares no records of linking modules by themselves"
		case !served:
			module.Skip = "the API does not serve this module"
		case standard == "" && !custom:
			module.Skip = "not among the modules whose records Zoho shares by themselves"
		}
		modules = append(modules, module)
	}
	slices.SortFunc(modules, func(a, b crm.Module) int {
		return cmp.Or(cmp.Compare(rank(a.Name), rank(b.Name)), strings.Compare(a.Name, b.Name))
	})
	return modules, ""
}

// rank is where a module stands among those that every organisation has, behind them all
// for others.
func rank(name string) int {
	if i := slices.Index(StandardModules(), name); i >= 0 {
		return i
	}
	return len(StandardModules())
}

// readPublic reads which modules everybody may see and change, or says why the answer can
// not be relied on. It is pure.
func readPublic(status int, body []byte) (public map[string]bool, why string) {
	public = map[string]bool{}
	if nobody(status, body) {
		return public, ""
	}
	var got struct {
		Settings once `json:"data_sharing"`
	}
	var list []struct {
		Kind   text `json:"share_type"`
		Module struct {
			Name text `json:"api_name"`
		} `json:"module"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &got) != nil || got.Settings.Absent() || json.Unmarshal(got.Settings, &list) != nil {
		return nil, "it is no list of sharing settings"
	}
	told := map[text]bool{}
	for _, s := range list {
		if told[s.Module.Name] {
			return nil, "it holds a module twice"
		}
		told[s.Module.Name] = true
		public[string(s.Module.Name)] = s.Kind == "public"
	}
	return public, ""
}
