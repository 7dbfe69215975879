package demo

// maxTyped is how many characters are kept; the oldest go first.
const maxTyped = 4096

const prompt = "$ "

// terminal is the text that all viewers have typed.
type terminal struct {
	typed []rune

	// rows as they were last asked for, until something is typed.
	rows          []string
	columns, size int
}

// typeRune adds a character; '\n' begins a line.
func (t *terminal) typeRune(r rune) {
	if len(t.typed) == maxTyped {
		t.typed = append(t.typed[:0], t.typed[1:]...)
	}
	t.typed = append(t.typed, r)
	t.rows = nil
}

// erase takes back the last character of the line, if it has one.
func (t *terminal) erase() bool {
	last := len(t.typed) - 1
	if last < 0 || t.typed[last] == '\n' {
		return false
	}
	t.typed = t.typed[:last]
	t.rows = nil
	return true
}

// view returns the last rows of the text, wrapped. The caller must not keep or
// change the slice.
func (t *terminal) view(columns, rows int) []string {
	columns, rows = max(columns, len(prompt)+1), max(rows, 1)
	if t.rows != nil && t.columns == columns && t.size == rows {
		return t.rows
	}
	all := []string{}
	line := []rune(prompt)
	for _, r := range t.typed {
		if r == '\n' || len(line) == columns {
			all = append(all, string(line))
			line = line[:0]
		}
		if r == '\n' {
			line = append(line, []rune(prompt)...)
			continue
		}
		line = append(line, r)
	}
	all = append(all, string(line))
	t.rows, t.columns, t.size = all[max(0, len(all)-rows):], columns, rows
	return t.rows
}
