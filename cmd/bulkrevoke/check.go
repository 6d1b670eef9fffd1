package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) checkCommand() *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Test the keys of each account; change nothing",
		Long: `Ask the CRM of each account, whatever earlier runs remember: whose keys these are, whether they may
share, whether the host is the right one, how far its clock and this machine's are apart, and how
many users it lists. Say how many calls a run may make, and where its state lies. Nothing is changed
in a CRM, and no sheet is needed.

Exit codes: 0 nothing would stop a run; 2 the configuration is refused, or a secret is missing; 3 a
run would be stopped: keys, role, host, a CRM that does not answer, a clock that is 5 minutes off;
4 another run holds an account; 129, 130 and 143 interrupted.`,
		Example: `  bulkrevoke check
  bulkrevoke check --account main
  bulkrevoke check --sandbox                         try it out, nothing leaves this machine`,
		Args: noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		only := ""
		if cmd.Flags().Changed("account") { // what runs take by default is no reason to leave others out
			only = o.account
		}
		if a.job, err = a.readOptions(cmd, o); err != nil {
			return err
		}
		if err := a.job.useDatabase(cmd.Context()); err != nil {
			return err
		}
		return errors.Join(a.job.check(cmd.Context(), only), a.job.close())
	}
	o.addFlags(cmd.Flags(), "config", "database", "limit", "share", "log-format", "log-level", "quiet",
		"account: check the account `NAME` alone (default: all of them)",
		"sandbox: check the accounts of a sandbox inside this process",
		"wait: wait so long for another run on an account")
	return cmd
}

// noArguments refuses words behind a command that takes none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) != 0 {
		return refusef(fmt.Sprintf("See `%s --help`.", cmd.CommandPath()), "%s takes no argument", cmd.Name())
	}
	return nil
}

// checked is what was found out about an account.
type checked struct {
	account  *account
	identity crm.Identity
	users    int           // that the CRM lists; -1 if it has no list
	ahead    time.Duration // this machine's clock is ahead of the CRM's by so much
	timeless bool          // the CRM does not say what time it is
	// trouble is what would stop a run, nil if nothing would.
	trouble error
}

// check tells of each account, or of one, whether a run could work with it.
func (j *job) check(ctx context.Context, only string) error {
	accounts, err := j.accountsToCheck(only)
	if err != nil {
		return err
	}
	good := slices.DeleteFunc(slices.Clone(accounts), func(a *account) bool { return a.bad != nil })
	found := make([]checked, len(good))
	folder, err := j.askCRMs(ctx, good, found)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		c := checked{account: a, trouble: a.bad}
		if i := slices.Index(good, a); i >= 0 {
			c = found[i]
		}
		switch {
		case a.bad != nil:
			j.code = exitRefused
		case c.trouble != nil && j.code != exitRefused:
			j.code = exitStopped
		}
		if err := j.tellChecked(c); err != nil {
			return err
		}
	}
	if folder == "" {
		return nil
	}
	if !j.opts.quiet {
		j.screen.Tell(report.Event{Name: "state folder", Attrs: []slog.Attr{slog.String("folder", folder)}})
	}
	_, err = fmt.Fprintf(j.stdout, "state folder %s: takes files\n", folder)
	return err
}

// accountsToCheck returns the account of that name, all for "".
func (j *job) accountsToCheck(only string) (accounts []*account, err error) {
	names := j.cfg
	if j.opts.sandbox {
		if j.world, err = startWorld(j.crms, "", "", true); err != nil {
			return nil, err
		}
		j.later(j.world.close)
		accounts, err = j.world.accounts(j.opts)
		names = config{Accounts: map[string]accountConfig{}}
		for _, a := range accounts {
			names.Accounts[a.name] = a.conf
		}
	} else {
		accounts, err = allAccounts(j.crms, j.cfg, j.opts, secretSource{lookup: j.lookup, warn: func(m string) { j.log.Warn(m) }})
	}
	if err != nil || only == "" {
		return accounts, err
	}
	name, reason := names.accountNamed(only)
	if reason != "" {
		return nil, refusef("", "--account: %s", reason)
	}
	return slices.DeleteFunc(accounts, func(a *account) bool { return a.name != name }), nil
}

// askCRMs asks the CRMs of the accounts, side by side, and returns the folder of their state,
// "" where none is kept.
func (j *job) askCRMs(ctx context.Context, accounts []*account, found []checked) (folder string, err error) {
	o := connectOptions{wait: j.opts.wait, holder: me(""), log: j.log, userAgent: "bulkrevoke/" + programVersion(), afresh: true, db: j.db}
	if o.atOnce, err = callsAtOnce(len(accounts), mostOpenFiles()); err != nil {
		return "", err
	}
	if !j.opts.sandbox {
		if o.state, err = stateFolder(j.lookup); err != nil {
			return "", err
		}
	}
	conns, err := connectAccounts(ctx, accounts, o)
	j.later(conns.close)
	if err != nil {
		return "", err
	}
	return o.state, sideBySide(len(accounts), mostAsked, func(i int) error {
		found[i].account = accounts[i]
		err := found[i].ask(ctx, conns.accounts[i].provider, j.now)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found[i].trouble = err
		return nil
	})
}

// ask asks the account's CRM. The error is what would stop a run.
func (c *checked) ask(ctx context.Context, p crm.Provider, now func() time.Time) (err error) {
	if c.identity, err = p.Identify(ctx); err != nil {
		return err
	}
	theirs, err := p.Clock(ctx)
	if err != nil {
		return err
	}
	if c.timeless = theirs.IsZero(); !c.timeless {
		c.ahead = now().Sub(theirs).Round(time.Second)
	}
	for _, err := range p.Users(ctx, crm.Current) {
		if errors.Is(err, crm.ErrNoUserList) {
			c.users = -1
			break
		}
		if err != nil {
			return err
		}
		c.users++
	}
	if c.ahead.Abs() > batch.ClockTolerance {
		return refusef("Set this machine's clock right: the rows of a sheet that have a date would not be attempted.",
			"clock: this machine's clock is %s, and dates count only where both agree within %s", c.apart(), batch.ClockTolerance)
	}
	return nil
}

// apart tells how far the clocks are apart.
func (c *checked) apart() string {
	switch {
	case c.ahead > 0:
		return fmt.Sprintf("%s ahead of the CRM's", c.ahead)
	case c.ahead < 0:
		return fmt.Sprintf("%s behind the CRM's", -c.ahead)
	}
	return "as the CRM's"
}

// tellChecked tells what was found out about an account, on standard output, and where the
// log is for machines, there too.
func (j *job) tellChecked(c checked) error {
	a := c.account
	verdict := "ready"
	if c.trouble != nil {
		verdict = "can not be worked with"
	}
	place := a.kind.title
	if a.host != "" {
		place += " at " + a.host
	}
	lines := []string{fmt.Sprintf("%s (%s): %s", a.name, place, verdict)}
	attrs := []slog.Attr{slog.String("account", a.name), slog.String("crm", a.kind.name), slog.String("host", a.host), slog.Bool("ready", c.trouble == nil)}
	level := slog.LevelInfo
	if c.identity.User != "" {
		lines = append(lines, "keys of "+c.whose(), fmt.Sprintf("organisation %s, %s; a run may make %d of its %d calls in %s; %s",
			c.identity.Org, c.listed(), a.slots(), a.limit.Calls, a.limit.Window, c.clock()))
		attrs = append(attrs, slog.String("user", c.identity.User), slog.String("role", c.identity.Role), slog.Bool("may_share", c.identity.Shares == crm.Yes),
			slog.String("organisation", c.identity.Org), slog.Int("users", c.users), slog.Int("limit", a.limit.Calls), slog.Float64("window_seconds", a.limit.Window.Seconds()),
			slog.Int("run_limit", a.slots()))
		if !c.timeless {
			attrs = append(attrs, slog.Float64("clock_ahead_seconds", c.ahead.Seconds()))
		}
	}
	if c.trouble != nil {
		_, text, hint := exit(c.trouble)
		lines, level = append(lines, text), slog.LevelError
		if hint != "" {
			lines = append(lines, hint)
		}
		attrs = append(attrs, slog.String("error", text), slog.String("hint", hint))
	}
	if c.trouble != nil || !j.opts.quiet {
		j.screen.Tell(report.Event{Name: "checked", Level: level, Attrs: attrs})
	}
	for i, line := range lines {
		lines[i] = report.Printable(line)
	}
	_, err := fmt.Fprintln(j.stdout, strings.Join(lines, "\n    "))
	return err
}

// whose tells whose keys they are and what these may do.
func (c *checked) whose() string {
	id := c.identity
	who := cmp.Or(id.Name, id.Email, "user "+id.User)
	if id.Email != "" && id.Email != who {
		who += " <" + id.Email + ">"
	}
	if id.Role != "" {
		who += ", " + id.Role
	}
	if id.Shares == crm.Yes {
		return who + ": may share and revoke"
	}
	return who + ": whether they may share, only the calls on a record tell"
}

// listed tells how many users the CRM lists.
func (c *checked) listed() string {
	if c.users < 0 {
		return "which lists no users: name them by id"
	}
	return report.Count(int64(c.users), "user")
}

// clock tells how far the clocks are apart.
func (c *checked) clock() string {
	switch {
	case c.timeless:
		return "the CRM does not say what time it is"
	case c.ahead.Abs() < 2*time.Second:
		return "the clocks agree"
	}
	return "this machine's clock is " + c.apart()
}
