package zoho

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestDoExactBodies(t *testing.T) {
	t.Parallel()
	const base = "/Quotes/" + record + "/actions/share"
	two := []share{user("5", "read_only"), {SharedWith: &recipient{"6", "users"}, Permission: "read_write", Related: true, Type: "private"}}
	withGroup := append(two[:2:2], group("9"))
	stays := `{"shared_with":{"id":"6","type":"users"},"permission":"read_write","share_related_records":true,"type":"private"}`
	tests := []struct {
		name string
		cfg  Config
		list []share
		op   crm.Operation
		want []string
	}{
		{"put", Config{}, withGroup, revoke("5"), []string{
			"GET /crm/v8" + base,
			"PUT /crm/v8" + base + ` {"share":[` + stays + `,{"shared_with":{"id":"9","type":"groups"},"permission":"read_only","share_related_records":true,"type":"private"}],"notify_shared_members":false,"notify_on_completion":false}`,
		}},
		{"put with the key of v7", Config{Version: "v7", Notify: "legacy"}, two, revoke("5"), []string{
			"GET /crm/v7" + base, "PUT /crm/v7" + base + ` {"share":[` + stays + `],"notify":false}`,
		}},
		{"put without keys", Config{Notify: "none"}, two, revoke("5"), []string{
			"GET /crm/v8" + base, "PUT /crm/v8" + base + ` {"share":[` + stays + `]}`,
		}},
		{"post keeps its own keys", Config{Notify: "none"}, nil, give("5", crm.Read), []string{
			"GET /crm/v8" + base,
			"POST /crm/v8" + base + ` {"share":[{"shared_with":{"id":"5","type":"users"},"permission":"read_only","share_related_records":false,"type":"private"}],"notify_shared_members":false,"notify_on_completion":false}`,
		}},
		{"delete", Config{}, two[:1], revoke("5"), []string{"GET /crm/v8" + base, "DELETE /crm/v8" + base}},
		{"v4, of which nothing is known", Config{Version: "v4"}, two, revoke("5"), []string{
			"GET /crm/v8" + base,
			"PUT /crm/v4" + base + ` {"share":[` + stays + `],"notify_shared_members":false,"notify_on_completion":false}`,
		}},
		{"v2", Config{Version: "v2"}, two, revoke("5"), []string{
			"GET /crm/v8" + base,
			"PUT /crm/v2" + base + ` {"share":[{"user":{"id":"6"},"permission":"read_write","share_related_records":true}],"notify":false}`,
		}},
		{"v3", Config{Version: "v3"}, two, revoke("5"), []string{
			"GET /crm/v8" + base,
			"PUT /crm/v3" + base + ` {"share":[{"user":{"id":"6"},"permission":"read_write","share_related_records":true,"type":"private"}],"notify":false}`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes] = tt.list
				p := provider(t, f, tt.cfg, nil)
				p.Do(t.Context(), callOf(tt.op), &journal{})
				if diff := cmp.Diff(tt.want, f.log); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
			})
		})
	}
}
