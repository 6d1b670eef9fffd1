package zoho

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

const successBody = `{"code":"SUCCESS","details":{},"message":"record will be shared successfully","status":"success"}`

// neverSeen answers a PUT of two entries as if the first had been refused and the
// other taken, and does nothing.
func neverSeen() step {
	return refuses("PUT", 207, `{"share":[`+envelope("INVALID_DATA", "cannot share to the user")+`,`+successBody+`]}`)
}

func TestDoBystanders(t *testing.T) {
	t.Parallel()
	three := func() []share { return []share{user("5", "read_only"), user("6", "read_write"), group("9")} }
	tests := []struct {
		name   string
		refuse map[string]string
		steps  []step
		want   string
		after  []string
		says   string
	}{
		{
			name: "refused once, put back", want: "done x1", after: []string{"9+ read_only", "6 read_write"}, says: "given it back",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.refuse["6"] = "internal failure"
				defer delete(f.refuse, "6")
				return carryOut()
			}}},
		},
		{
			name: "refused for good, named", want: "done stayer_lost x1", after: []string{"9+ read_only"}, says: "user 6",
			refuse: map[string]string{"6": "cannot share to the user"},
		},
		{
			name: "lost answer to a PUT of which a part failed", want: "done x1", after: []string{"9+ read_only", "6 read_write"}, says: "given it back",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.refuse["6"] = "internal failure"
				defer delete(f.refuse, "6")
				carryOut()
				return answer{err: errors.New("connection reset by peer")}
			}}},
		},
		{
			name: "lost answer, and somebody else has revoked everybody", want: "done stayer_lost x1", after: []string{}, says: "somebody else",
			steps: []step{{"PUT", func(f *fake, _ func() answer) answer {
				f.lists[quotes] = nil
				return answer{err: errors.New("connection reset by peer")}
			}}},
		},
		{
			name: "all entries refused, nothing done", want: "failed INVALID_DATA x1", after: []string{"5 read_only", "6 read_write", "9+ read_only"},
			refuse: map[string]string{"6": "cannot share to the user", "9": "invalid group Id"}, says: "those who stay",
		},
		{
			name: "permission lowered by the write, put back", want: "done x1", after: []string{"9+ read_only", "6 read_write"}, says: "given it back",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.lists[quotes] = []share{user("6", "read_only"), group("9")}
				return says(207, `{"share":[`+envelope("INVALID_DATA", "Permission is invalid")+`,`+successBody+`]}`)
			}}},
		},
		{
			name: "the repair meets a busy record, then a lost answer", want: "done x1", after: []string{"9+ read_only", "6 read_write"}, says: "given it back",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.refuse["6"] = "internal failure"
				defer delete(f.refuse, "6")
				f.steps = []step{refuses("POST", 400, schedulerBody), lose("POST", false)}
				return carryOut()
			}}},
		},
		{
			name: "the repair may not be announced any more", want: "done stayer_lost x1", after: []string{"9+ read_only"}, says: "user 6",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.refuse["6"] = "internal failure"
				f.steps = []step{refuses("POST", 403, envelope("NO_PERMISSION", "permission denied"))}
				return carryOut()
			}}},
		},
		{
			name: "a part is taken and never seen", want: "failed INVALID_DATA x3", after: []string{"5 read_only", "6 read_write", "9+ read_only"}, says: "user 6",
			steps: []step{neverSeen(), neverSeen(), neverSeen()},
		},
		{
			name: "a part is taken and no look can be made", want: "failed stayer_refused maybe x1", after: []string{"5 read_only", "6 read_write", "9+ read_only"}, says: "user 6",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.steps = nil
				for range 6 {
					f.steps = append(f.steps, refuses("GET", 400, schedulerBody))
				}
				return says(207, `{"share":[`+envelope("INVALID_DATA", "cannot share to the user")+`,`+successBody+`]}`)
			}}},
		},
		{
			name: "the first look after it is lost", want: "done x1", after: []string{"9+ read_only", "6 read_write"}, says: "given it back",
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				f.refuse["6"] = "internal failure"
				defer delete(f.refuse, "6")
				f.steps = []step{{"GET", func(f *fake, carryOut func() answer) answer { return answer{err: errors.New("reset")} }}}
				return carryOut()
			}}},
		},
		{
			name: "the effect of a part comes late", want: "done stayer_lost x1", after: []string{"9+ read_only"}, says: "user 6",
			refuse: map[string]string{"6": "cannot share to the user"},
			steps: []step{{"PUT", func(f *fake, carryOut func() answer) answer {
				old := f.lists[quotes]
				a := carryOut()
				late := f.lists[quotes]
				f.lists[quotes] = old
				f.steps = []step{
					refuses("GET", 400, schedulerBody),
					{"GET", func(f *fake, carryOut func() answer) answer {
						a := carryOut()
						f.lists[quotes] = late
						return a
					}},
				}
				return a
			}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes], f.steps = three(), tt.steps
				if tt.refuse != nil {
					f.refuse = tt.refuse
				}
				p := provider(t, f, Config{}, nil)
				out := p.Do(t.Context(), callOf(revoke("5")), &journal{})
				if got := brief(out[0]); got != tt.want {
					t.Errorf("outcome %s, want %s (%s)", got, tt.want, out[0].Message)
				}
				if lost := strings.Contains(tt.want, crm.CodeBystanderLost); len(out[0].Lost) > 0 != lost {
					t.Errorf("lost %v, want %v", out[0].Lost, lost)
				}
				if !strings.Contains(out[0].Message, tt.says) {
					t.Errorf("message %q, want %q in it", out[0].Message, tt.says)
				}
				if diff := cmp.Diff(tt.after, f.who(quotes)); diff != "" {
					t.Errorf("list afterwards (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A stop between a change and the repair of what it did does not keep the repair back, and
// nothing else is sent.
func TestRepairComesAfterAStop(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"a part was refused": false, "the answer was lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_write"), user("7", "read_only"), group("9")}
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				f.steps = []step{{"PUT", func(f *fake, carryOut func() answer) answer {
					f.refuse["6"] = "internal failure"
					defer delete(f.refuse, "6")
					stop(errors.New("SIGTERM"))
					a := carryOut()
					if lost {
						a = answer{err: errors.New("connection reset by peer")}
					}
					return a
				}}}
				p := provider(t, f, Config{}, nil)
				began := time.Now()
				out := p.Do(ctx, callOf(revoke("5")), &journal{})
				if took := time.Since(began); took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
				if diff := cmp.Diff([]string{"9+ read_only", "7 read_only", "6 read_write"}, f.who(quotes), cmpopts.SortSlices(strings.Compare)); diff != "" {
					t.Errorf("in force (-want +got):\n%s", diff)
				}
				if out[0].Status != crm.Done || out[0].Lost != nil || !strings.Contains(out[0].Message, "given it back") {
					t.Errorf("the outcome is %+v", out[0])
				}
			})
		})
	}
}

// A repair that does not help is given up in time.
func TestRepairAfterAStopEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_write"), group("9")}
		f.refuse["6"] = "cannot share to the user"
		ctx, stop := context.WithCancelCause(t.Context())
		defer stop(nil)
		f.steps = []step{{"PUT", func(f *fake, carryOut func() answer) answer {
			stop(errors.New("SIGTERM"))
			return carryOut()
		}}}
		p := provider(t, f, Config{}, nil)
		began := time.Now()
		out := p.Do(ctx, callOf(revoke("5")), &journal{})
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		if len(out[0].Lost) != 1 || !strings.Contains(out[0].Message, "user 6") {
			t.Errorf("the outcome is %+v", out[0])
		}
	})
}

// Whoever an earlier sending was to leave alone, and is not there as before, is
// named by whatever looks at the record next: the next run, or the confirming look.
func TestBystandersAreMissedLater(t *testing.T) {
	t.Parallel()
	stay := []crm.Grant{
		{Kind: "user", ID: "6", Access: crm.Write, Type: "private"}, {Kind: "group", ID: "9", Access: crm.Read, Related: true, Type: "private"},
		{Kind: "user", ID: "8", Access: crm.Read, Through: "Contacts/649013"}, // ends with the parent's share
	}
	tests := []struct {
		name  string
		list  []share
		op    crm.Operation
		prior crm.Prior
		steps []step
		want  string
		says  string // "" for no alarm
	}{
		{"all there, confirmed", []share{user("6", "read_write"), group("9")}, revoke("5"), crm.PriorNone, nil, "done x0", ""},
		{"one gone, confirmed", []share{group("9")}, revoke("5"), crm.PriorNone, nil, "done stayer_lost x0", "user 6"},
		{"one changed, confirmed", []share{user("6", "full_access"), group("9")}, revoke("5"), crm.PriorNone, nil, "done stayer_lost x0", "user 6 (has other access now)"},
		{"a group gone, failed", []share{user("6", "read_write"), inherited(user("5", "read_only"))}, revoke("5"), crm.PriorNone, nil, "failed inherited x0", "group 9"},
		{"not yet", []share{user("5", "read_only")}, revoke("5"), crm.PriorNone, nil, "accepted not_yet x0", ""},
		{"all there, lost before", []share{user("6", "read_write"), group("9")}, revoke("5"), crm.PriorUnanswered, nil, "done x0", ""},
		{"one gone, lost before", []share{group("9")}, revoke("5"), crm.PriorUnanswered, nil, "done stayer_lost x0", "user 6"},
		{"one gone, not done, refused now", []share{user("5", "read_only"), group("9")}, revoke("5"), crm.PriorUnanswered,
			[]step{refuses("PUT", 403, envelope("NO_PERMISSION", "permission denied"))}, "failed NO_PERMISSION maybe x1", "user 6"},
		{"one gone, accepted now", []share{user("5", "read_only"), group("9")}, revoke("5"), crm.PriorUnanswered, nil, "accepted x1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes], f.steps = tt.list, tt.steps
				p := provider(t, f, Config{}, nil)
				item := crm.Item{Op: tt.op, Prior: tt.prior, Ticket: quotes, Bystanders: stay}
				var out crm.Outcome
				if tt.prior == crm.PriorNone {
					out = confirm(t.Context(), p, item)[0]
				} else {
					out = p.Do(t.Context(), crm.Call{ID: "c", Items: []crm.Item{item}}, &journal{})[0]
				}
				if got := brief(out); got != tt.want {
					t.Errorf("outcome %s, want %s (%s)", got, tt.want, out.Message)
				}
				if len(out.Lost) > 0 != (tt.says != "") || !strings.Contains(out.Message, tt.says) {
					t.Errorf("lost %v, message %q, want %q in it", out.Lost, out.Message, tt.says)
				}
				if strings.Contains(out.Message, "user 8") {
					t.Errorf("message %q names somebody whom the parent gave the record", out.Message)
				}
			})
		})
	}
}

// TestBusyWithItsOwnWrite: a record that is busy with a write of which a part was refused
// is waited for in the same call; put off, the row would begin anew and meet the same.
func TestBusyWithItsOwnWrite(t *testing.T) {
	t.Parallel()
	part := func() step {
		return refuses("PUT", 207, `{"share":[`+envelope("INVALID_DATA", "cannot share to the user")+`,`+successBody+`]}`)
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"two writes and it goes", []step{part(), refuses("PUT", 403, schedulerBody), refuses("PUT", 403, schedulerBody)}, "accepted x4"},
		{"the look finds it busy", []step{part(), refuses("PUT", 403, schedulerBody), refuses("GET", 400, schedulerBody)}, "accepted x3"},
		{"busy before anything was written", []step{refuses("PUT", 403, schedulerBody)}, "not_attempted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes], f.steps = []share{user("5", "read_only"), user("6", "read_only")}, tt.steps
				o := provider(t, f, Config{}, nil).Do(t.Context(), callOf(give("5", crm.Write)), &journal{})[0]
				if got := brief(o); !strings.HasPrefix(got, tt.want) {
					t.Errorf("outcome %s, want %s (%s)", got, tt.want, o.Message)
				}
			})
		})
	}
}

// A CRM that no longer answers what a repair asks holds nobody up for more than 25 s after
// the stop, and the bystander who may have lost access is named.
func TestRepairOfASilentCRMEnds(t *testing.T) {
	t.Parallel()
	for _, silent := range []string{http.MethodGet, http.MethodPut} {
		t.Run(silent, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_write"), group("9")}
				f.refuse["6"] = "internal failure"
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				f.steps = []step{{"PUT", func(f *fake, carryOut func() answer) answer {
					time.AfterFunc(time.Second, func() { stop(errors.New("SIGTERM")) })
					f.hangs = silent
					return carryOut()
				}}}
				p := provider(t, f, Config{}, nil)
				began := time.Now()
				out := p.Do(ctx, callOf(revoke("5")), &journal{})
				if took := time.Since(began); took > 26*time.Second {
					t.Errorf("it took %v, the stop came after one second", took)
				}
				if lost := out[0].Lost != nil; lost != (silent == http.MethodPut) || !strings.Contains(out[0].Message, "user 6") {
					t.Errorf("the outcome is %+v", out[0])
				}
			})
		})
	}
}

// TestNoChangeFollowsAStop: what became of a PUT whose answer was lost is looked at after a
// stop too, because bystanders may need a repair; the change itself is not sent again.
func TestNoChangeFollowsAStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lists[quotes] = []share{user("5", "read_only"), user("6", "read_only")}
		ctx, stop := context.WithCancelCause(t.Context())
		f.steps = []step{
			{"GET", func(_ *fake, carryOut func() answer) answer { return carryOut() }},
			lose("PUT", false),
			{"GET", func(_ *fake, carryOut func() answer) answer {
				stop(errors.New("stopped"))
				return carryOut()
			}},
		}
		o := provider(t, f, Config{}, nil).Do(ctx, callOf(revoke("5")), &journal{})[0]
		if got, want := brief(o), "not_attempted maybe x1"; got != want || strings.Count(f.methods(), "PUT") != 1 {
			t.Errorf("got %s after %s, want %s after one PUT", got, f.methods(), want)
		}
	})
}
