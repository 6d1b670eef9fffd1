package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// forms returns the ways in which a secret may be written down, by their names. It
// has nothing of the product's own list of them.
func forms(secret string) map[string]string {
	b := []byte(secret)
	list := map[string]string{
		"plain": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
		"hex": hex.EncodeToString(b), "HEX": strings.ToUpper(hex.EncodeToString(b)), "Go": strings.Trim(fmt.Sprintf("%q", secret), `"`),
	}
	quoted, _ := json.Marshal(secret)
	list["json"] = strings.Trim(string(quoted), `"`)
	list["json, slashes"] = strings.ReplaceAll(list["json"], "/", `\/`)
	list["lower query"] = regexp.MustCompile(`%..`).ReplaceAllStringFunc(list["query"], strings.ToLower)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for before := range 3 {
			// Without the digits at both ends that what stands around it takes part in.
			text := enc.EncodeToString([]byte(strings.Repeat("~", before) + secret + "~~~"))
			list[fmt.Sprintf("base64 %d %d", before, map[bool]int{true: 1}[enc == base64.URLEncoding])] = text[3 : (len(secret)*8+8*before)/6-1]
		}
	}
	return list
}

// vault holds the secrets of a test, and knows them again.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string // by name
}

// see takes the access tokens from the requests that pass.
func (v *vault) see(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Zoho-oauthtoken "); ok {
			v.mu.Lock()
			v.secrets["token that lives an hour, ..."+token[max(0, len(token)-4):]] = token
			v.mu.Unlock()
		}
		h.ServeHTTP(w, req)
	})
}

// search fails the test for every secret that is in the text in whatever form, and
// for every piece of one that can be told.
func (v *vault) search(t *testing.T, where string, text []byte, but ...string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, secret := range v.secrets {
		if slices.Contains(but, strings.Split(name, " ")[0]) {
			continue
		}
		for form, s := range forms(secret) {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s holds the %s as %s", where, name, form)
			}
		}
		const piece = 12
		for i := 0; i+piece <= len(secret); i++ {
			if bytes.Contains(text, []byte(secret[i:i+piece])) {
				t.Errorf("%s holds a piece of the %s", where, name)
				break
			}
		}
	}
}

// searchAll looks through all that a run has left and said.
func (v *vault) searchAll(t *testing.T, r *rig, got ran) {
	t.Helper()
	v.search(t, "standard error", []byte(got.stderr))
	v.search(t, "standard output", []byte(got.stdout))
	tokens := 0
	must(t, filepath.WalkDir(r.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if entry.Name() == "access_token.json" {
			tokens++
			v.search(t, entry.Name(), data, "token") // its own file has the access token, and no other secret
			return nil
		}
		v.search(t, entry.Name(), data)
		return nil
	}))
	if tokens > 1 {
		t.Errorf("%d files hold the access token", tokens)
	}
	if led, err := ledger.Open(r.path("off.ledger.db"), ledger.Options{ReadOnly: true}); err == nil {
		v.search(t, "the ledger's rows", ledgerText(t, led))
		must(t, led.Close())
	}
}

// ledgerText is all that a ledger says, as text: in the file a long cell may be cut
// into pages.
func ledgerText(t *testing.T, led *ledger.Ledger) []byte {
	t.Helper()
	var b bytes.Buffer
	for result, err := range led.Results(t.Context()) {
		must(t, err)
		fmt.Fprintf(&b, "%+v\n", result)
		seen, _, err := led.Seen(t.Context(), result.Seen)
		must(t, err)
		fmt.Fprintf(&b, "%+v\n", seen)
	}
	for event, err := range led.Events(t.Context(), 0) {
		must(t, err)
		fmt.Fprintf(&b, "%s %s\n", event.Kind, event.Body)
	}
	runs, err := led.Runs(t.Context())
	must(t, err)
	fmt.Fprintf(&b, "%+v\n", runs)
	return b.Bytes()
}

// newLeakRig is a rig whose secrets are hard to write down and easy to tell.
func newLeakRig(t *testing.T, auth string) (*rig, *vault) {
	t.Helper()
	v := &vault{secrets: map[string]string{
		"access key":    `u$rAK+7c/q=e&s%z~K<y>ACCESS`,
		"secret key":    `sk+8d/r=f&t%y~L"m\nSECRET`,
		"client secret": `cs+9e/s=g&u%x~M<n>CLIENT`,
		"refresh token": `1000.rt0f1a2b3c4d5e6f.REFRESH`,
	}}
	r := newRig(t, sandbox.Config{}, v.see)
	r.env["RIG_ACCESS"], r.env["RIG_SECRET"] = v.secrets["access key"], v.secrets["secret key"]
	r.env["RIG_CLIENT_SECRET"], r.env["RIG_REFRESH"] = v.secrets["client secret"], v.secrets["refresh token"]
	r.configure(strings.Replace(rigConfig, "    crm: leadsquared\n", "    crm: leadsquared\n    auth: "+auth+"\n", 1))
	r.seedQuote(1, 1, 2)
	r.seedGroup(1, 1, 2)
	return r, v
}

// leakSheet has a row of every kind, one that names its user by address, and one
// that is invalid.
func (r *rig) leakSheet() string {
	r.t.Helper()
	return r.sheet(lead("revoke", 1), lead("share", 2), member("revoke", 1, 1), quote("revoke", 1, 1),
		strings.Replace(lead("revoke", 3), guidOf('u', 3), "u2@rig.example", 1), lead("fire", 4))
}

// leakRun runs it with everything told and written that can be.
func (r *rig) leakRun() ran {
	r.t.Helper()
	return r.run("run", "--skip-invalid", "--log-level", "debug", "--confirm-timeout", "1s", "--summary", r.path("summary.json"),
		"--report", r.path("report.html"), "--metrics-file", r.path("metrics.prom"), r.leakSheet())
}

// No secret is in anything that a run says or leaves, whatever goes wrong.
func TestNoSecretLeaksInAnyFault(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	defer c.wait()
	for _, kind := range append(sandbox.FaultKinds(), "none") {
		for auth, ops := range map[string][]string{"header": {"*", "EntityAccess.Revoke", "Zoho.Share.Put", "Zoho.Token"}, "query": {"*", "EntityAccess.Revoke"}} {
			if kind == sandbox.FaultHang || kind == sandbox.FaultTrickle {
				ops = []string{"EntityAccess.Revoke"} // 20 s each
			}
			for _, op := range ops {
				c.run(fmt.Sprintf("%s %s %s", kind, op, auth), func(t *testing.T) {
					r, v := newLeakRig(t, auth)
					if kind != "none" {
						fault := sandbox.Fault{
							Op: op, Kind: kind, Times: 1, Delay: 10 * time.Millisecond, Bytes: 3 << 20, URL: "http://127.0.0.1:1/?k=" + url.QueryEscape(v.secrets["secret key"]),
							Type: "MXNoException", Text: "no", Body: `{}`,
						}
						if kind == sandbox.FaultThrottle {
							fault.Header = map[string]string{"Retry-After": "1"}
						}
						r.server.Fault(fault)
					}
					got := r.leakRun()
					if got.code == exitRefused {
						t.Fatalf("refused:\n%s", got.stderr)
					}
					v.searchAll(t, r, got)
					v.searchAll(t, r, r.run("plan", "--skip-invalid", r.path("off.csv")))
				})
			}
		}
	}
}

// A CRM that repeats a secret, in whatever form and place, has it taken out.
func TestNoSecretLeaksFromAnEcho(t *testing.T) {
	t.Parallel()
	sample, _ := newLeakRig(t, "header")
	c := newCrowd(t)
	defer c.wait()
	for _, variable := range []string{"RIG_ACCESS", "RIG_SECRET", "RIG_CLIENT_SECRET", "RIG_REFRESH"} {
		for _, form := range slices.Sorted(maps.Keys(forms(sample.env[variable]))) {
			c.run(variable+" "+form, func(t *testing.T) {
				r, v := newLeakRig(t, "header")
				text := echoed(r.env[variable], form)
				quoted, err := json.Marshal(text)
				must(t, err)
				long := strings.Repeat("x", 290) + text
				for _, f := range []sandbox.Fault{
					{Op: "EntityAccess.Revoke", Match: "7001", Kind: sandbox.FaultException, Type: "MXNo" + text, Text: text},
					{Op: "EntityAccess.Revoke", Match: "7003", Kind: sandbox.FaultProcessFailed, Text: text},
					{Op: "EntityAccess.Share", Kind: sandbox.FaultVerbatim, Body: `{"Status":"Success","Message":{"Id":` + string(quoted) + `}}`},
					{Op: "UserGroup.RemoveUsers", Times: 1, Kind: sandbox.FaultVerbatim, Status: 429, Body: "API calls exceeded the limit of 900 in 1 second(s) " + long, Header: map[string]string{"Retry-After": "1"}},
					{Op: "UserGroup.RemoveUsers", Kind: sandbox.FaultVerbatim, Status: 403, Body: `{"Status":"Error","ExceptionType":"MXNo","ExceptionMessage":` + string(quoted) + `}`},
					{Op: "Zoho.Share.Put", Kind: sandbox.FaultException, Type: text, Text: text, Status: 403},
				} {
					if knows(f.Op, variable) {
						r.server.Fault(f)
					}
				}
				got := r.leakRun()
				if got.code == exitRefused {
					t.Fatalf("refused:\n%s", got.stderr)
				}
				v.searchAll(t, r, got)
			})
		}
	}
}

// knows says whether the CRM that carries out op is ever told the secret.
func knows(op, variable string) bool {
	return strings.HasPrefix(op, "Zoho.") == (variable == "RIG_CLIENT_SECRET" || variable == "RIG_REFRESH")
}

// echoed is a text that has a secret in it in the form.
func echoed(secret, form string) string {
	if !strings.HasPrefix(form, "base64") {
		return "said: " + forms(secret)[form] + " so"
	}
	var before, urlSafe int
	_, _ = fmt.Sscanf(form, "base64 %d %d", &before, &urlSafe)
	enc := base64.StdEncoding
	if urlSafe == 1 {
		enc = base64.URLEncoding
	}
	return "said: " + enc.EncodeToString([]byte(strings.Repeat("~", before)+secret+"~~~"))
}

// What ends an account with a text of the CRM's repeats no secret either.
func TestNoSecretLeaksFromTheEndOfAnAccount(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	defer c.wait()
	for _, op := range []string{"Authentication", "EntityAccess.Revoke", "Users.Get", "Zoho.Token", "Zoho.Users", "Zoho.Share.Get"} {
		for _, status := range []int{200, 302, 400, 401, 403, 404, 500, 503} {
			c.run(fmt.Sprintf("%s %d", op, status), func(t *testing.T) {
				r, v := newLeakRig(t, "header")
				var all []string
				for _, variable := range []string{"RIG_ACCESS", "RIG_SECRET", "RIG_CLIENT_SECRET", "RIG_REFRESH"} {
					if knows(op, variable) {
						all = append(all, r.env[variable], url.QueryEscape(r.env[variable]))
					}
				}
				text := strings.Join(all, " ")
				quoted, err := json.Marshal(text)
				must(t, err)
				r.server.Fault(sandbox.Fault{
					Op: op, Kind: sandbox.FaultVerbatim, Status: status, Times: 3, Header: map[string]string{"Location": "http://" + strings.Repeat("a", 20) + ".example/" + url.PathEscape(text)},
					Body: fmt.Sprintf(`{"Status":"Error","ExceptionType":%[1]s,"ExceptionMessage":%[1]s,"code":%[1]s,"message":%[1]s,"error":%[1]s,"status":"error"}`, quoted),
				})
				v.searchAll(t, r, r.leakRun())
			})
		}
	}
}

// A secret file that others may write is refused, one that they may read is warned
// of, by the command.
func TestSecretFilesThatOthersMayTouch(t *testing.T) {
	t.Parallel()
	for mode, want := range map[fs.FileMode]struct {
		code int
		says string
	}{0o600: {exitDone, ""}, 0o640: {exitDone, "others may read the secret file"}, 0o604: {exitDone, "others may read the secret file"}, 0o620: {exitRefused, "others may write"}, 0o602: {exitRefused, "others may write"}} {
		t.Run(fmt.Sprintf("%04o", mode), func(t *testing.T) {
			t.Parallel()
			r, v := newLeakRig(t, "header")
			file := r.write("key", v.secrets["secret key"]+"\n")
			must(t, os.Chmod(file, mode))
			r.configure(strings.Replace(rigConfig, "env:RIG_SECRET", "file:"+file, 1))
			got := r.runs(want.code, "run", r.sheet(lead("revoke", 1)))
			if says := strings.Contains(got.stderr, "others may"); says != (want.says != "") || !strings.Contains(got.stderr, want.says) {
				t.Errorf("it says:\n%s", got.stderr)
			}
			if want.code == exitRefused && len(r.server.Arrivals()) > 0 {
				t.Error("calls were made")
			}
			v.search(t, "standard error", []byte(got.stderr))
		})
	}
}
