package main

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// templates are the parts of the configuration that init writes: its head, and an account
// of each CRM under its name.
//
//go:embed templates
var templates embed.FS

func (a *app) initCommand() *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration to fill in, and an empty sheet",
		Long: `Write ` + configName + ` into the current folder, with an account of each CRM and what to fill in where,
and the empty sheet leavers.csv with all columns; leavers.xlsx is the same as a workbook, with lists
to choose from. A file that is there already stays as it is.

Exit codes: 0 something was written; 2 nothing was, or not all of what is missing.`,
		Example: `  bulkrevoke init`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillFromEnvironment(cmd.Flags(), a.lookup); err != nil {
				return err
			}
			a.job = &job{app: a, opts: o, log: newLog(a.screen, o)}
			return a.job.writeTemplates(cmd.Context())
		},
	}
	o.addFlags(cmd.Flags(), "log-format", "log-level", "quiet")
	return cmd
}

// writeTemplates writes the files that are not there.
func (j *job) writeTemplates(ctx context.Context) error {
	folder, err := os.Getwd()
	if err != nil {
		return refusef("Go to a folder that is there.", "the current folder: %w", report.Reason(err))
	}
	text, err := j.crms.template(folder)
	if err != nil {
		return err
	}
	columns := j.crms.templateColumns()
	written := 0
	for _, file := range []struct {
		name  string
		write func(name string) error
	}{
		{configName, func(name string) error { return report.WriteNew(ctx, name, text) }},
		{"leavers.csv", func(name string) error { return report.WriteTemplate(ctx, name, columns) }},
		{"leavers.xlsx", func(name string) error { return report.WriteTemplate(ctx, name, columns) }},
	} {
		if _, err := os.Lstat(file.name); err == nil {
			j.tell("left as it is", file.name, "%s is there already and stays as it is", file.name)
			continue
		}
		if err := file.write(file.name); err != nil {
			if _, known := errors.AsType[*report.TargetError](err); known || ctx.Err() != nil {
				return err
			}
			return refusef("Make the folder writable, or go to another one.", "%s could not be written: %w", file.name, report.Reason(err))
		}
		written++
		j.tell("file written", file.name, "%s written", file.name)
	}
	if written == 0 {
		return refusef("Go to another folder, or move them away.", "nothing was written: all files are there already")
	}
	if !j.opts.quiet {
		j.say("next", nil, "next: fill in %s, test it with `bulkrevoke check`, write rows into one of the sheets, and look with `bulkrevoke plan leavers.csv`", configName)
	}
	return nil
}

// tell says what became of a file.
func (j *job) tell(event, file, format string, args ...any) {
	if !j.opts.quiet {
		j.say(event, []slog.Attr{slog.String("file", file)}, format, args...)
	}
}

// template returns the configuration that init writes into a folder.
func (ks kinds) template(folder string) (string, error) {
	parts := []string{"head"}
	for _, k := range ks {
		parts = append(parts, k.name)
	}
	var b strings.Builder
	for i, part := range parts {
		text, err := templates.ReadFile("templates/" + part + ".yaml")
		if err != nil {
			return "", err
		}
		if i > 1 {
			b.WriteByte('\n')
		}
		b.Write(text)
	}
	token := "file:" + filepath.ToSlash(filepath.Join(folder, "refresh-token"))
	return strings.NewReplacer("DEFAULT", ks[0].name, "REFRESH_TOKEN", strconv.Quote(token)).Replace(b.String()), nil
}

// templateColumns are the columns of the sheet that init writes: all that the tool knows.
func (ks kinds) templateColumns() []report.TemplateColumn {
	var objects []string
	for _, k := range ks {
		objects = append(objects, k.objects.names()...)
	}
	known := map[string]report.TemplateColumn{
		crm.ColumnAction:      {Help: "revoke takes the record from the user, share gives it, revoke_all takes it from everybody, keep decides that nothing is done.", Words: words(crm.Revoke, crm.Share, crm.RevokeAll, crm.Keep)},
		crm.ColumnObject:      {Help: "What kind of record it is. A module of your own: its API name.", Words: slices.Compact(objects), Others: true},
		crm.ColumnRecord:      {Help: "The record's id, as text."},
		crm.ColumnUser:        {Help: "The user's id or e-mail address; empty for revoke_all."},
		crm.ColumnContext:     {Help: "For a lead that was shared through an activity: the activity's id."},
		crm.ColumnAccess:      {Help: "Needed to share a record.", Words: words(crm.Read, crm.Write, crm.Full)},
		crm.ColumnMinutes:     {Help: "How long a share lasts: minutes, or 12h, or 30d. Empty: as the account says."},
		crm.ColumnRelated:     {Help: "Whether related records are shared too.", Words: []string{"true", "false"}},
		crm.ColumnPermissions: {Help: "What a new member of a sales group may do: names separated by ;"},
		"account":             {Help: "An account of the configuration. Empty: the default."},
		"not_before":          {Help: "The row is done from this day on, such as 2026-11-30.", Date: true},
		"last_day":            {Help: "The user's last day: the row is done when it is over.", Date: true},
	}
	var columns []report.TemplateColumn
	for _, name := range sheet.Columns() {
		c := known[name]
		c.Name = name
		columns = append(columns, c)
	}
	return columns
}

// words returns values as a sheet has them.
func words[T interface{ String() string }](values ...T) []string {
	var all []string
	for _, v := range values {
		all = append(all, v.String())
	}
	return all
}
