package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
)

// A run claims its accounts, asks before each call whether it may send, and says goodbye.
func ExampleHost_Claim() {
	ctx := context.Background()
	d, err := fleet.Open(ctx, fleet.Config{URL: os.Getenv("BULKREVOKE_DATABASE")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	h, err := d.Join(ctx, "host-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Leave(ctx)
	claims, err := h.Claim(ctx, []string{"ledger/offboarding", "zoho/org-1"}, fleet.ClaimOptions{
		For: "offboarding.csv", What: map[string]string{"zoho/org-1": `account "main"`},
	})
	if held, ok := errors.AsType[*fleet.HeldError](err); ok {
		fmt.Println(held, "- try again later, or with --wait")
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	if one := claims.Get("zoho/org-1"); one.Unclean {
		fmt.Println("somebody stopped sending without a goodbye", one.Ended, "ago")
	}
	if err := h.May(); err == nil {
		fmt.Println("one call can be sent now")
	}
	if err := claims.Release(ctx, map[string][]byte{"zoho/org-1": []byte("when the last calls were sent")}, "ledger/offboarding"); err != nil {
		fmt.Println(err)
	}
}

// A worker takes sheets until it is told to stop.
func ExampleHost_Work() {
	ctx, stop := context.WithTimeout(context.Background(), time.Hour)
	defer stop()
	d, err := fleet.Open(ctx, fleet.Config{URL: os.Getenv("BULKREVOKE_DATABASE")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	h, err := d.Join(ctx, "host-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Leave(context.WithoutCancel(ctx))
	err = h.Work(ctx, fleet.WorkOptions{AtOnce: 10, Do: func(ctx context.Context, t *fleet.Task) fleet.Result {
		file, err := t.Open(ctx)
		if err != nil {
			return fleet.Result{ExitCode: 3, Why: err.Error(), Next: fleet.Next{Kind: fleet.HandBack}}
		}
		defer file.Close()
		if _, err := io.Copy(io.Discard, file); err != nil {
			return fleet.Result{ExitCode: 2, Why: err.Error(), Next: fleet.Next{Kind: fleet.NeedsChange}}
		}
		t.Report(map[string]int64{"done": 1})
		return fleet.Result{Next: fleet.Next{Kind: fleet.Finished}}
	}})
	fmt.Println(err)
}
