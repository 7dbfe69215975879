package api

import (
	"net/http"
	"time"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

const maxKeyText = 100 // characters of a key's name, org and owner

// key is a store.Key as clients see it.
type key struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Org       string     `json:"org"`
	Owner     string     `json:"owner"`
	Role      store.Role `json:"role"`
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

func keyView(k *store.Key) key {
	return key{k.ID, k.Name, k.Org, k.Owner, k.Role, moment(k.CreatedAt), moment(k.ExpiresAt)}
}

func (s *server) listKeys(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	stored, err := s.o.Store.Keys(r.Context())
	if err != nil {
		return err
	}
	answer := struct {
		Keys []key `json:"keys"`
	}{[]key{}}
	for _, k := range stored {
		answer.Keys = append(answer.Keys, keyView(k))
	}
	return s.writeJSON(w, http.StatusOK, answer)
}

// createKey tells the secret this once: only its hash is kept.
func (s *server) createKey(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var name, owner, role string
	var expires time.Time
	org := c.Org
	if err := decodeBody(r, fields{"name": &name, "org": &org, "owner": &owner, "role": &role, "expires_at": &expires}); err != nil {
		return err
	}
	for field, value := range map[string]string{"name": name, "org": org, "owner": owner} {
		if err := checkText(field, value, maxKeyText); err != nil {
			return err
		}
	}
	switch store.Role(role) {
	case store.RoleAdmin, store.RoleAgent:
		if owner == "" {
			owner = c.Owner
		}
	case store.RoleUser:
		if owner == "" {
			return store.Errorf(store.Invalid, "owner is missing; a key with role %q sees the sessions of its owner only", role)
		}
	default:
		return store.Errorf(store.Invalid, "role %q is none of %s, %s, %s", clip(role), store.RoleAdmin, store.RoleUser, store.RoleAgent)
	}
	if name == "" || org == "" {
		return store.Errorf(store.Invalid, "name and org must not be empty")
	}
	if !expires.IsZero() && !expires.After(time.Now().Add(s.o.Store.ClockAhead())) {
		return store.Errorf(store.Invalid, "expires_at %s has passed already", expires.Format(time.RFC3339))
	}
	secret, made, err := auth.NewKey(name, org, owner, store.Role(role))
	if err != nil {
		return err
	}
	made.ExpiresAt = expires
	if err := s.o.Store.CreateKey(r.Context(), made); err != nil {
		return err
	}
	if made.Role == store.RoleAgent && s.o.JoinPin != "" {
		secret += "@" + s.o.JoinPin
	}
	w.Header().Set("Location", "/api/v1/keys/"+made.ID)
	return s.writeJSON(w, http.StatusCreated, struct {
		key
		Secret string `json:"secret"`
	}{keyView(made), secret})
}

func (s *server) deleteKey(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := s.keepOneAdmin(r, id); err != nil {
		return err
	}
	err = s.o.Store.DeleteKey(r.Context(), id)
	s.o.Auth.Forget(id)
	if store.CodeOf(err) == store.NotFound {
		return store.Errorf(store.NotFound, "there is no key %s", id)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// keepOneAdmin refuses to delete the last key that could make another one.
func (s *server) keepOneAdmin(r *http.Request, id string) error {
	stored, err := s.o.Store.Keys(r.Context())
	if err != nil {
		return err
	}
	isAdmin, others := false, 0
	for _, k := range stored {
		lasts := k.Role == store.RoleAdmin && k.ExpiresAt.IsZero()
		switch {
		case k.ID == id:
			isAdmin = lasts
		case lasts:
			others++
		}
	}
	if isAdmin && others == 0 {
		return store.Errorf(store.Conflict, "this is the last key with role %q that does not expire; make another one first", store.RoleAdmin)
	}
	return nil
}
