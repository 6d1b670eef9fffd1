package sheet

// maxWord is how many bytes a word may have that was meant to be a name.
const maxWord = 256

// Near returns the one of choices that a word was probably meant to be: the one
// that is fewest slips of typing away, a letter too many, too few, another, or two
// changed over. Case, spaces, "_" and "-" do not count. It is "" where none is near,
// and of several that are equally near the first.
func Near(word string, choices ...string) string {
	if len(word) > maxWord {
		return ""
	}
	folded := []rune(fold(word))
	near, least := "", len(folded)
	for _, choice := range choices {
		other := []rune(fold(choice))
		allowed := 3
		switch n := min(len(folded), len(other)); { // in a short word, two slips make any word of any other
		case n < 3:
			allowed = 0
		case n < 6:
			allowed = 1
		case n < 12:
			allowed = 2
		}
		if n := slips(folded, other); n < least && n <= allowed {
			near, least = choice, n
		}
	}
	return near
}

// slips returns how many slips of typing make b of a (the optimal string alignment
// distance). Words that are too long to be names of ours are as far as can be.
func slips(a, b []rune) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var rows [3][longest + 1]int // two before, one before, and this one
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range a {
		before, last, now := &rows[i%3], &rows[(i+1)%3], &rows[(i+2)%3]
		now[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(last[j+1]+1, now[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
