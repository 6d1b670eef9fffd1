package sandbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
)

// ZohoModule is what is special about a module of Zoho. The zero value of all but its
// name is a module whose records are private to their owners.
type ZohoModule struct {
	Name string `json:"module"`
	// ShareType is what everybody may do with its records: "private", "public_read_only",
	// "public_read_write" or "public"; empty for private.
	ShareType string `json:"share_type,omitempty"`
	// Linking makes it a linking module, of which no record can be shared; NoAPI one that
	// the API does not serve.
	Linking bool `json:"linking,omitempty"`
	NoAPI   bool `json:"no_api,omitempty"`
	// NoShares closes the shares of its records to the token, NoQueries its records.
	NoShares  bool `json:"no_shares,omitempty"`
	NoQueries bool `json:"no_queries,omitempty"`
}

// shareTypes are what the default of a module may be.
var shareTypes = []string{"private", "public_read_only", "public_read_write", "public"}

// zohoPages are modules that hold no records which people share, and zohoTabs those that
// the API does not serve at all.
var (
	zohoPages = []string{"Notes", "Attachments"}
	zohoTabs  = []string{"Home", "Reports", "Dashboards"}
)

// moduleID makes the id of a module from its name.
func moduleID(name string) string {
	sum := sha256.Sum256([]byte("module " + name))
	return fmt.Sprintf("5%018d", binary.BigEndian.Uint64(sum[:])%1e18)
}

// moduleEntry is an entry of the list of modules.
type moduleEntry struct {
	APIName       string `json:"api_name"`
	ModuleName    string `json:"module_name"`
	APISupported  bool   `json:"api_supported"`
	GeneratedType string `json:"generated_type"`
	ID            string `json:"id"`
	Viewable      bool   `json:"viewable"`
	Visible       bool   `json:"visible"`
}

// listModules lists the modules of the organisation.
func (z *zoho) listModules() *reply {
	var list []moduleEntry
	add := func(name, generated string, served bool) {
		list = append(list, moduleEntry{name, name, served, generated, moduleID(name), true, true})
	}
	for _, name := range z.moduleNames() {
		set, generated := z.settings[name], "default"
		switch {
		case set.Linking:
			generated = "linking"
		case !slices.Contains(zohoModules, name) && !slices.Contains(zohoNotShared, name):
			generated = "custom"
		}
		add(name, generated, !set.NoAPI)
	}
	for _, name := range zohoPages {
		add(name, "default", true)
	}
	for _, name := range zohoTabs {
		add(name, "web", false)
	}
	return jsonReply(http.StatusOK, map[string]any{"modules": list})
}

// dataSharing tells what everybody may do with the records of each module.
func (z *zoho) dataSharing(version int) *reply {
	if version < 8 {
		return zohoProblem(http.StatusBadRequest, "API_NOT_SUPPORTED", "The API is supported only in the latest versions").reply()
	}
	list := []map[string]any{}
	for _, name := range z.moduleNames() {
		if z.settings[name].Linking {
			continue
		}
		list = append(list, map[string]any{
			"public_in_portals": false, "share_type": cmp.Or(z.settings[name].ShareType, "private"),
			"module":                   map[string]string{"api_name": name, "id": moduleID(name)},
			"rule_computation_running": false,
		})
	}
	return jsonReply(http.StatusOK, map[string]any{"data_sharing": list})
}

// scopeMissing is the refusal of what the token may not do.
func scopeMissing() *zohoAnswer {
	return zohoProblem(http.StatusUnauthorized, "OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL")
}
