package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) loginCommand() *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:   "login ACCOUNT",
		Short: "Get the secret of an account whose CRM gives one out, and write it into its file",
		Long: `Say what to do in the CRM's own console, ask for the token that it shows (a terminal does not show
it; elsewhere it is read from standard input, never from the command line), trade it at the CRM for
the secret of the account, see that the secret works, and write it into the file that the
configuration names, for nobody else to read. The secret that was there stays until the new one
works.

Exit codes: 0 the secret is written; 2 refused: the configuration, or an account that has no login;
3 the CRM says no, or does not answer; 4 another run holds the account; 129, 130 and 143 interrupted.`,
		Example: `  bulkrevoke login ` + a.crms.withLogin(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return refusef("Name the account as the configuration does. The token is asked for, and never stands on the command line.",
					"login takes one account, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if a.job, err = a.readOptions(cmd, o); err != nil {
				return err
			}
			if err := a.job.useDatabase(cmd.Context()); err != nil {
				return err
			}
			return errors.Join(a.job.login(cmd.Context(), args[0]), a.job.close())
		},
	}
	o.addFlags(cmd.Flags(), "config", "database", "log-format", "log-level", "quiet",
		"wait: wait so long for another run on the account")
	return cmd
}

// withLogin returns the name of a CRM that has a login.
func (ks kinds) withLogin() string {
	for _, k := range ks {
		if _, ok := k.keys().(loginKeys); ok {
			return k.name
		}
	}
	return "ACCOUNT"
}

// login trades the token that somebody brings for the account's secret.
func (j *job) login(ctx context.Context, name string) error {
	a, keys, err := j.accountToLogIn(name)
	if err != nil {
		return err
	}
	about := keys.login(a.name)
	path, ok := strings.CutPrefix(about.ref, "file:")
	if !ok {
		return refusef(fmt.Sprintf("Write `%s: file:/path` into the account: login makes that file.", about.key),
			"account %q: %s is %s, and login can only write a file: a variable ends with the shell that it is set in", a.name, about.key, about.ref)
	}
	if err := report.CheckSecret(path); err != nil {
		if target, ok := errors.AsType[*report.TargetError](err); ok {
			return refusef(fmt.Sprintf("Name another file as the %s of the account, or make its folder writable.", about.key), "%w", target)
		}
		return err
	}
	if !j.opts.quiet {
		j.screen.Tell(report.Event{Text: about.steps, Name: "steps", Attrs: []slog.Attr{slog.String("text", about.steps)}})
	}
	secrets := secretSource{lookup: j.lookup, warn: func(m string) { j.log.Warn(m) }}
	if _, _, err := keys.trade(a.name, secrets, transport.NewSecret("none")); err != nil { // before anybody fetches a token for it
		return refusef(hintFor(err), "account %q: %w", a.name, err)
	}
	token, err := j.askToken(ctx, about)
	if err != nil {
		return err
	}
	endpoint, secret, err := keys.trade(a.name, secrets, token)
	if err != nil {
		return refusef(hintFor(err), "account %q: %w", a.name, err)
	}
	a.endpoint = endpoint
	id, err := j.trade(ctx, a)
	if err != nil {
		return err
	}
	if err := report.WriteSecret(context.WithoutCancel(ctx), path, secret().Reveal()); err != nil {
		return refusef(fmt.Sprintf("Mend what is in the way, fetch a new %s, and log in again.", about.token),
			"account %q: the new %s works and could not be written: %w", a.name, about.key, err)
	}
	j.tellSecret(checked{account: a, identity: id}, about.key, path)
	return nil
}

// accountToLogIn returns the account of that name.
func (j *job) accountToLogIn(name string) (*account, loginKeys, error) {
	if len(j.cfg.Accounts) == 0 {
		return nil, nil, refusef(fmt.Sprintf("Write one with `bulkrevoke init`, or name it with --config; the file is called %s.", configName), "no account is configured")
	}
	found, reason := j.cfg.accountNamed(name)
	if reason != "" {
		return nil, nil, refusef("", "%s", reason)
	}
	conf := j.cfg.Accounts[found]
	k, _ := j.crms.named(conf.CRM)
	keys, ok := conf.Keys.(loginKeys)
	if !ok {
		return nil, nil, refusef("Put them where the configuration of the account says, and test them with `bulkrevoke check`.",
			"account %q is %s, which has no login: %s", found, k.title, k.keysFrom)
	}
	a, err := newAccount(k, found, conf, j.opts)
	return a, keys, err
}

// askToken reads the token.
func (j *job) askToken(ctx context.Context, about loginSteps) (token transport.Secret, err error) {
	read := func() (string, error) { return firstLine(j.stdin) }
	if file, ok := j.stdin.(*os.File); ok && j.terminal(file) {
		before, err := term.GetState(int(file.Fd()))
		if err != nil {
			return token, refusef("Write it to standard input.", "the terminal can not be kept from showing the %s", about.token)
		}
		// A read that is left to itself, because a signal came, would leave the terminal mute.
		defer func() { _ = term.Restore(int(file.Fd()), before) }()
		j.screen.Ask(about.token + " (is not shown): ")
		read = func() (string, error) {
			text, err := term.ReadPassword(int(file.Fd()))
			return string(text), err
		}
	}
	text, err := within(ctx, read)
	j.screen.Answered()
	if j.terminal(j.stdin) {
		j.screen.Tell(report.Event{Text: "\n"})
	}
	if ctx.Err() != nil {
		return token, context.Cause(ctx)
	}
	if text = strings.TrimSpace(text); text == "" {
		return token, refusef("Copy it from the console, as the steps above say.", "no %s was given", about.token)
	}
	return transport.NewSecret(text), nil
}

// firstLine reads a line, of which not more than a secret has.
func firstLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, maxSecret)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

// trade sends the token through the account's gate, under its lock, and asks whose secret
// came of it: that it works.
func (j *job) trade(ctx context.Context, a *account) (id crm.Identity, err error) {
	o := connectOptions{wait: j.opts.wait, holder: me(""), log: j.log, userAgent: "bulkrevoke/" + programVersion(), atOnce: 1, db: j.db}
	if o.state, err = stateFolder(j.lookup); err != nil {
		return id, err
	}
	conns, err := connectAccounts(ctx, []*account{a}, o)
	j.later(conns.close)
	c := conns.accounts[0]
	if err != nil && (!c.asked || c.err != nil) {
		return id, err
	}
	// Where the secret works, a lock of its organisation that somebody else holds is no reason
	// to throw it away: the token was good once.
	if id, err = c.ask(ctx); err != nil {
		if ctx.Err() != nil {
			return id, context.Cause(ctx)
		}
		return id, fmt.Errorf("account %q: %w", a.name, err)
	}
	if c.place != "" && id.Org != c.place {
		j.log.Warn("the new keys belong to another organisation than the old ones: what was done there does not count here", "account", a.name, "was", c.place, "is", id.Org)
	}
	return id, nil
}

// tellSecret says whose secret is written where.
func (j *job) tellSecret(c checked, key, path string) {
	if j.opts.quiet {
		return
	}
	j.say("logged in", []slog.Attr{slog.String("account", c.account.name), slog.String("user", c.identity.User),
		slog.String("organisation", c.identity.Org), slog.String("file", path)},
		"account %s: keys of %s; organisation %s; the %s is in %s", c.account.name, report.Printable(c.whose()), report.Printable(c.identity.Org), strings.ReplaceAll(key, "_", " "), path)
	j.say("next", nil, "next: bulkrevoke check --account %s", shellQuote(c.account.name))
}
