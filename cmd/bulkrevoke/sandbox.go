package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

func (a *app) sandboxCommand() *cobra.Command {
	o := newOptions()
	var listen string
	var seeds []string
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a local stand-in of both CRM APIs",
		Long: `Serve a stand-in of both CRM APIs until a signal ends it, and print the environment variables
with which bulkrevoke finds it. It takes any keys, holds the vendors' rate limits, and answers as
the vendors' references say. What is seeded is in force at the start: for each first revoke of a
sheet the access that it takes away.

Exit codes: 0 a signal has ended it; 2 refused.`,
		Example: `  bulkrevoke sandbox --listen 127.0.0.1:8080 --seed samples/offboarding.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 0 {
				return refusef("See `bulkrevoke sandbox --help`.", "sandbox takes no argument")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillFromEnvironment(cmd.Flags(), a.lookup); err != nil {
				return err
			}
			a.job = &job{app: a, opts: o, log: newLog(a.screen, o)}
			return a.serveSandbox(cmd.Context(), listen, seeds)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "listen on `ADDR` (default: this machine only, a free port)")
	cmd.Flags().StringArrayVar(&seeds, "seed", nil, "make the world in which `SHEET` is worth running; may be given again")
	o.addFlags(cmd.Flags(), "map", "header-row", "log-format", "log-level", "quiet")
	return cmd
}

// serveSandbox serves a sandbox until ctx is done. That is how it is meant to end,
// and no error.
func (a *app) serveSandbox(ctx context.Context, listen string, seeds []string) (err error) {
	w, err := startWorld(a.crms, listen, "", false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, name := range seeds {
		a.sheet = name
		j := &job{app: a, opts: a.job.opts, log: a.job.log, world: w}
		if err := errors.Join(j.seedSandbox(ctx), j.close()); err != nil {
			return err
		}
	}
	var variables []string
	for _, k := range w.kinds {
		_, own := k.sandbox(w.base)
		variables = append(variables, own...)
	}
	fmt.Fprintf(a.stdout, "export %s\n", strings.Join(variables, "\nexport "))
	a.say("sandbox ready", []slog.Attr{slog.String("url", w.base)}, "sandbox at %s, until a signal ends it", w.base)
	a.serving.Store(true)
	<-ctx.Done()
	return nil
}

// seedSandbox tells the sandbox of every good row of a sheet.
func (j *job) seedSandbox(ctx context.Context) (err error) {
	if err := j.openInput(ctx); err != nil {
		return err
	}
	if j.led, err = ledger.Scratch(os.TempDir()); err != nil {
		return err
	}
	j.later(j.led.Close)
	if j.accounts, err = j.world.accounts(j.opts); err != nil {
		return err
	}
	words := j.world.kinds.words(j.accounts, j.world.kinds)
	b, err := batch.New(j.led, batch.Options{
		Accounts: batchAccounts(j.accounts), Words: words, SkipInvalid: true, Log: j.log,
		Zone: time.UTC, // when a row is due says nothing of what there is
	})
	if err != nil {
		return err
	}
	if err := b.LoadSheet(ctx, j.reader); err != nil {
		return err
	}
	return j.world.seedAll(b.Rows(ctx))
}
