// Command bulkrevoke takes away, and gives, access to CRM records as a spreadsheet
// asks for, and gives the spreadsheet back with what happened to each row.
//
// This package reads flags, environment, configuration, terminal and signals, wires
// the other packages together, and decides nothing else.
package main

import (
	"context"
	"io"
	"log"
	"os"
)

func main() {
	crashAsSignal()
	// What the standard library says by itself is no line of ours, and may hold what a
	// CRM has sent: net/http shows the bytes that come on an idle connection.
	log.SetOutput(io.Discard)
	app := newApp(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	ctx, stop := notifySignals(context.Background(), app.endedAtOnce)
	code := app.execute(ctx)
	stop()
	os.Exit(code)
}

// run is the program: it executes the command line and returns the exit code. When
// ctx is done it stops cleanly and says so with the code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp(args, stdin, stdout, stderr)
	return app.execute(ctx)
}
