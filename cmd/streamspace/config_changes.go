package main

import (
	"reflect"
	"strings"
)

// changedKeys are the keys in which two configs of one type differ, like
// "vnc.max_streams"; a section that one of them lacks and a list count as one key.
func changedKeys(before, after any) []string {
	return keysThatDiffer(reflect.ValueOf(before), reflect.ValueOf(after), "")
}

func keysThatDiffer(before, after reflect.Value, key string) (keys []string) {
	if before.Kind() == reflect.Pointer && !before.IsNil() && !after.IsNil() {
		before, after = before.Elem(), after.Elem()
	}
	if before.Kind() != reflect.Struct {
		if !reflect.DeepEqual(before.Interface(), after.Interface()) {
			return []string{key}
		}
		return nil
	}
	for i := range before.NumField() {
		field := before.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		keys = append(keys, keysThatDiffer(before.Field(i), after.Field(i), strings.TrimPrefix(key+"."+name, "."))...)
	}
	return keys
}
