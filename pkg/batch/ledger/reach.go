package ledger

import (
	"context"
	"fmt"
)

// Reach returns, after Index, how many people the sheet's valid rows name and how
// many records they are about. The same id on two accounts is two people.
func (s *Stage) Reach(ctx context.Context) (people, records int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		if people, err = c.count(`SELECT count(*) FROM (SELECT DISTINCT account, user FROM swho
			WHERE user <> '' AND line IS NOT NULL AND code IS NULL)`); err != nil {
			return err
		}
		records, err = c.count("SELECT count(DISTINCT rec) FROM skey")
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count people and records: %w", err)
	}
	return people, records, nil
}
