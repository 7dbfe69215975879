package sqldb

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func (db *DB) Sessions(ctx context.Context, f store.SessionFilter) (page []*store.Session, next string, err error) {
	limit := cmp.Or(f.Limit, store.DefaultPage)
	if limit < 1 || limit > store.MaxPage {
		return nil, "", store.Errorf(store.Invalid, "limit %d is out of range; 1 to %d", f.Limit, store.MaxPage)
	}
	text, args, err := listQuery(f)
	if err != nil {
		return nil, "", err
	}
	// One more than the page holds tells whether there is another page.
	page, err = all(ctx, db.nearby(ctx), sessionFields, text, append(args, limit+1)...)
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	last := page[limit-1]
	return page[:limit], cursor{created: last.CreatedAt.UnixMicro(), id: last.ID}.String(), nil
}

// listQuery lacks the last argument, the number of rows.
func listQuery(f store.SessionFilter) (text string, args []any, err error) {
	conditions, args := narrow(f)
	if f.Cursor != "" {
		after, err := parseCursor(f.Cursor)
		if err != nil {
			return "", nil, err
		}
		conditions, args = append(conditions, "(created_at, id) < (?, ?)"), append(args, after.created, after.id)
	}
	where := ""
	if len(conditions) > 0 {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	return "SELECT " + sessionColumns + " FROM sessions" + where + " ORDER BY created_at DESC, id DESC LIMIT ?", args, nil
}

// narrow writes states as literals, in one order: only then the indexes of some
// states are used, also by a plan that is made once for all.
func narrow(f store.SessionFilter) (conditions []string, args []any) {
	equal := func(column, value string) {
		if value != "" {
			conditions, args = append(conditions, column+" = ?"), append(args, value)
		}
	}
	equal("org", f.Org)
	equal("owner", f.Owner)
	equal("agent_id", f.AgentID)
	if len(f.States) == 0 {
		return conditions, args
	}
	var literals []string // an unknown state is in no row
	for _, state := range store.States() {
		if slices.Contains(f.States, state) {
			literals = append(literals, "'"+string(state)+"'")
		}
	}
	if len(literals) == 0 {
		return append(conditions, "1 = 0"), args
	}
	return append(conditions, "state IN ("+strings.Join(literals, ", ")+")"), args
}

// cursor is the last session of a page.
type cursor struct {
	created int64 // microseconds since 1970
	id      string
}

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.created, 10) + " " + c.id))
}

// uuidLength is that of a UUID's usual form; uuid.Validate takes others too.
const uuidLength = 36

func parseCursor(text string) (cursor, error) {
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	created, id, _ := strings.Cut(string(plain), " ")
	c := cursor{id: id}
	if err == nil {
		c.created, err = strconv.ParseInt(created, 10, 64)
	}
	if err != nil || len(id) != uuidLength || uuid.Validate(id) != nil || c.String() != text {
		return cursor{}, store.Errorf(store.Invalid, "cursor %q is not one that a list returned; leave it out to start at the newest", shorten(text))
	}
	return c, nil
}
