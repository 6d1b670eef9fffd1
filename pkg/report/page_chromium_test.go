//go:build chromium

package report

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The tests of this file look at pages with a browser. They have a build tag of their own,
// and fail without Chromium. BULKREVOKE_TEST_AXE is
// the path of axe.min.js, of the npm package axe-core.

// chromium returns a command that runs the browser without a window.
func chromium(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium on this machine")
	}
	// Its own sandbox does not work for root or in most containers; the pages are ours.
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + profile(t)}, args...)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// profile returns a folder for a browser that has come to its end when the test has, or
// nearly: its last processes may still write to it.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bulkrevoke-browser-")
	must(t, err)
	t.Cleanup(func() {
		for tries := 0; os.RemoveAll(dir) != nil && tries < 50; tries++ {
			time.Sleep(100 * time.Millisecond)
		}
	})
	return dir
}

// browsedPages are pages of every kind, by name.
func browsedPages(t *testing.T) map[string]string {
	t.Helper()
	rows, s, facts := examplePage()
	pages := map[string]string{"example": writtenPage(t, pageLedger(t, rows), s, facts)}

	done := []pageRow{rows[0], rows[1]}
	facts.Sandbox, facts.ExitCode = true, 0
	s.Alarms, s.Stopped = 0, nil
	pages["good"] = writtenPage(t, pageLedger(t, done), s, facts)

	path := filepath.Join(t.TempDir(), "refused.html")
	must(t, WriteRefusal(t.Context(), "", Facts{
		Sheet: "off.csv", ExitCode: 2, Args: facts.Args, Failure: errors.New("3 rows are invalid"), Hint: "Mend them, or use --skip-invalid.", Again: "bulkrevoke run off.csv",
	}, path))
	pages["refused"] = read(t, path)

	rows, s, facts = largePage()
	pages["large"] = writtenPage(t, pageLedger(t, rows), s, facts)
	return pages
}

// largePage is a run of 5,000 rows about 250 people, of which many are open or have a
// remark.
func largePage() ([]pageRow, batch.Summary, Facts) {
	_, s, facts := examplePage()
	facts.Plan.Rows, facts.SLA = 5000, time.Hour
	var rows []pageRow
	for i := range 5000 {
		r := pageRow{account: "main", lastDay: "2026-11-21", named: fmt.Sprintf("person.number%d@example.com", i%250), settle: ledger.Outcome{
			Status: crm.Done, HTTPStatus: 200, RequestID: fmt.Sprintf("%032x", i), ConfirmedAt: at.Add(time.Duration(i) * time.Second),
		}}
		r.op = crm.Operation{
			Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(869196 + i), User: fmt.Sprintf("e6b8a9b2-51d0-4f1e-9a55-0f4f8f1f2%03d", i%250), Access: crm.Read,
			Context: fmt.Sprintf("cf6f8a10-1d5e-4d3c-8a4b-2b60f7a1%04d", i),
		}
		switch {
		case i%20 == 7:
			r.settle = ledger.Outcome{Status: crm.Failed, HTTPStatus: 500, RequestID: r.settle.RequestID, Code: "MXInvalidEntityException", Message: "Lead with the given ProspectAutoId does not exist"}
		case i%60 == 21:
			r.settle = ledger.Outcome{Status: crm.Uncertain, Code: "no_answer", Message: "the connection broke while the answer was awaited", Attempts: 2}
		case i%60 == 31:
			r.settle = ledger.Outcome{Status: crm.Accepted, HTTPStatus: 200, RequestID: r.settle.RequestID}
		case i%60 == 41:
			r.op.User, r.code, r.problem = "", "invalid", `context_id: is empty; a lead is shared in the context of an activity`
		case i%5 == 3:
			r.settle.Note = "a role has the record too: " + r.op.User
		case i%900 == 12:
			r.settle.Code, r.settle.Message = crm.CodeBystanderLost, "user 5a1c lost access to the lead and could not be given it back"
		case i >= 4900:
			r.untouched = true
		}
		rows = append(rows, r)
	}
	return rows, s, facts
}

// runAxe is what a page gets beside its own content, so that it tells how accessible it
// is. The rules of axe are all on, best practices too.
const runAxe = `<script src="/axe.js"></script><script>
addEventListener("load", () => axe.run(document, {resultTypes: ["violations"]}).then(r => parent.postMessage({
	width: innerWidth, overflow: document.documentElement.scrollWidth - innerWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches,
	passed: r.passes.map(p => p.id),
	violations: r.violations.map(v => v.id + " (" + v.impact + ", " + v.nodes.length + "): " + v.nodes[0].html + ": " + v.nodes[0].failureSummary),
}, "*"), e => parent.postMessage({error: String(e)}, "*")));
</script>`

// walkPages shows one page after the other in a frame, which can be narrower than any
// window, and sends on what each says.
const walkPages = `<!doctype html><body><script>
const cases = %s;
function show() {
	const next = cases.shift();
	if (!next) return;
	const frame = document.createElement("iframe");
	frame.style = "border: 0; width: " + next.Width + "px; height: 844px";
	frame.src = "/page/" + next.Page;
	onmessage = async m => {
		await fetch("/report", {method: "POST", body: JSON.stringify({...m.data, case: next})});
		frame.remove();
		show();
	};
	document.body.replaceChildren(frame);
}
show();
</script>`

// browsed is a page as it is looked at.
type browsed struct {
	Page  string
	Width int
}

// axeReport is what a page says of itself.
type axeReport struct {
	Case               browsed
	Width, Overflow    int
	Dark               bool
	Passed, Violations []string
	Error              string
}

// Everybody can read the page: the contrast of texts, what a keyboard reaches, how parts
// are named, in the light and in the dark, on a telephone and on a desk.
func TestPageIsAccessible(t *testing.T) {
	t.Parallel()
	axe := []byte(read(t, cmp.Or(os.Getenv("BULKREVOKE_TEST_AXE"), "BULKREVOKE_TEST_AXE is not set")))
	pages := browsedPages(t)
	var cases []browsed
	for name := range pages {
		cases = append(cases, browsed{name, 390}, browsed{name, 1024})
	}
	walk, err := json.Marshal(cases)
	must(t, err)
	for _, dark := range []bool{false, true} {
		t.Run(fmt.Sprintf("dark=%t", dark), func(t *testing.T) {
			reports := make(chan axeReport, len(cases))
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, walkPages, walk) })
			mux.HandleFunc("GET /axe.js", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/javascript")
				w.Write(axe)
			})
			mux.HandleFunc("GET /page/{name}", func(w http.ResponseWriter, r *http.Request) {
				// The copy may run a script, and has unfolded what is folded away: that would not
				// be looked at. Of a large page the first parts are enough.
				page := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(pages[r.PathValue("name")], "")
				page = strings.Replace(page, "<details>", "<details open>", 4)
				io.WriteString(w, strings.Replace(page, "</body>", runAxe+"</body>", 1))
			})
			mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
				var report axeReport
				if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
					report.Error = err.Error()
				}
				reports <- report
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			args := []string{"--window-size=1200,900", server.URL}
			if dark {
				args = append(args, "--force-dark-mode")
			}
			ctx, stop := context.WithCancel(t.Context())
			cmd := chromium(ctx, t, args...)
			must(t, cmd.Start())
			defer cmd.Wait()
			defer stop()
			for range cases {
				select {
				case r := <-reports:
					switch name := fmt.Sprintf("%s at %d px", r.Case.Page, r.Case.Width); {
					case r.Error != "":
						t.Errorf("%s: %s", name, r.Error)
					case r.Width != r.Case.Width || r.Dark != dark:
						t.Errorf("%s was shown %d wide, dark %t", name, r.Width, r.Dark)
					case !slices.Contains(r.Passed, "color-contrast"):
						t.Errorf("%s: the contrast was not looked at, but %q", name, r.Passed)
					default:
						for _, v := range r.Violations {
							t.Errorf("%s: %s", name, v)
						}
						if r.Overflow > 0 {
							t.Errorf("%s is %d px too wide", name, r.Overflow)
						}
					}
				case <-time.After(2 * time.Minute):
					t.Fatal("the browser does not answer")
				}
			}
		})
	}
}

// A large run is a report and no book.
func TestLargePagePrintsOnFewSheets(t *testing.T) {
	t.Parallel()
	rows, s, facts := largePage()
	dir := t.TempDir()
	page, pdf := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.pdf")
	must(t, WriteHTML(t.Context(), pageLedger(t, rows), s, facts, page))
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if out, err := chromium(ctx, t, "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+page).CombinedOutput(); err != nil {
		t.Fatalf("print: %v\n%s", err, out)
	}
	const most = 15
	sheets := len(regexp.MustCompile(`/Type\s*/Page\b`).FindAllString(read(t, pdf), -1))
	t.Logf("5,000 rows are %d pages", sheets)
	if sheets < 2 || sheets > most {
		t.Errorf("5,000 rows are %d pages, want at most %d", sheets, most)
	}
}
