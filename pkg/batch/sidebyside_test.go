package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// slowFake takes its time over whose keys it has and over its users.
type slowFake struct{ *fake }

const slowly = 80 * time.Millisecond

func (f slowFake) Identify(ctx context.Context) (crm.Identity, error) {
	time.Sleep(slowly)
	return f.fake.Identify(ctx)
}

func (f slowFake) Users(ctx context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	time.Sleep(slowly)
	return f.fake.Users(ctx, part)
}

// manyFakes is a bench whose accounts are slow, and a sheet with a row for each.
func manyFakes(t *testing.T, n int, user string) (b *bench, rows []string) {
	b = newBench(t)
	for i := range n {
		f := newFake(t)
		f.users = []crm.User{{ID: "u1", Email: "one@x.example", Active: true}}
		name := fmt.Sprintf("a%03d", i)
		b.opts.Accounts = append(b.opts.Accounts, Account{Name: name, CRM: "fake", Host: name + ".example", Provider: slowFake{f}, Workers: 4})
		rows = append(rows, fmt.Sprintf("revoke r%d %s@@%s", i, user, name))
	}
	b.opts.Default = ""
	return b, rows
}

// However many accounts there are, whose keys they have and who their users are is asked
// of all of them together.
func TestAccountsAreAskedSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			user, protect string
			want          time.Duration
		}{
			{"u1", "", slowly},
			{"one@x.example", "", 2 * slowly},
			{"u1", "boss@x.example", 2 * slowly},
		} {
			b, rows := manyFakes(t, 100, tc.user)
			if tc.protect != "" {
				b.opts.Protect = []string{tc.protect}
			}
			start := time.Now()
			if _, _, err := b.prepare(rows...); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != tc.want {
				t.Errorf("100 accounts with %s, protected %q, took %v, want %v", tc.user, tc.protect, took, tc.want)
			}
		}
	})
}

// Which account answers first does not matter for what is said.
func TestFirstErrorInTheOrderOfTheAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, rows := manyFakes(t, 10, "u1")
		for i, a := range b.opts.Accounts {
			if f := a.Provider.(slowFake).fake; i >= 3 {
				f.preErr = errors.New("no answer of use")
				if i > 3 { // at once
					b.opts.Accounts[i].Provider = f
				}
			}
		}
		if _, _, err := b.prepare(rows...); err == nil || !strings.Contains(err.Error(), `account "a003"`) {
			t.Errorf("error is %v, want that of the first account that has one", err)
		}
	})
}
