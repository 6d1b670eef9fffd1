package sheet

// Has reports whether the sheet has a column, by the name that Columns or
// PermissionColumns gives it. A sheet that names its users by e-mail address has
// the column "user".
func (r *Reader) Has(column string) bool {
	key := columnKey(column)
	return key != "" && r.header.has(key)
}
