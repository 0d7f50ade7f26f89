package web

import (
	"reflect"

	"serin.dev/serin/pkg/safetext"
)

// clean makes every string that v points to safe to show, whoever wrote it: what
// would turn the direction of writing, or is invisible, is shown as an escape. The
// values are copies of the Source's, but for what slices hold, which is copied here.
func clean[T any](v *T) { scrub(reflect.ValueOf(v).Elem()) }

func scrub(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(safetext.Line(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			switch field := v.Field(i); {
			case !v.Type().Field(i).IsExported():
			case v.Type().Field(i).Name == "YAML": // of several lines
				field.SetString(safetext.Text(field.String()))
			default:
				scrub(field)
			}
		}
	case reflect.Slice:
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		for i := range own.Len() {
			scrub(own.Index(i))
		}
		if !v.IsNil() {
			v.Set(own)
		}
	default: // numbers and times
	}
}
