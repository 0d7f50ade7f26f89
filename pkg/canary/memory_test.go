package canary

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestAStateThatIsRememberedSharesNothing(t *testing.T) {
	var full State
	fill(reflect.ValueOf(&full).Elem())
	for _, path := range shared("State", reflect.ValueOf(full), reflect.ValueOf(full.clone())) {
		t.Errorf("%s is shared: whoever changes it changes what others read; copy it in clone", path)
	}
	if copied := full.clone(); !reflect.DeepEqual(copied, full) {
		t.Errorf("the copy is another state:\n%+v\n%+v", copied, full)
	}
	if got := shared("State", reflect.ValueOf(full), reflect.ValueOf(full)); len(got) == 0 {
		t.Error("a state shares all with itself, and nothing of it was found")
	}
}

func TestWhatIsDecodedAgainIsAsWhenItWasDecodedFirst(t *testing.T) {
	text, err := EncodeState(stored())
	if err != nil {
		t.Fatal(err)
	}
	first, err := DecodeState(text)
	if err != nil {
		t.Fatal(err)
	}
	first.Spec.Steps[0].Weight, first.Legs[0].Weight, first.Marks[0] = 99, 99, "changed"
	again, err := DecodeState(text)
	if err != nil || !reflect.DeepEqual(again, stored()) {
		t.Errorf("it is %+v (%v), want %+v", again, err, stored())
	}
}

func TestMemoryForgetsTheOldestAndNoMore(t *testing.T) {
	m := &memory{states: map[string]State{}}
	for i := range remembered + 2 {
		m.put(fmt.Sprint(i), State{Step: i})
		m.put(fmt.Sprint(i), State{Step: -1}) // is known
	}
	for i, want := range map[int]bool{0: false, 1: false, 2: true, remembered + 1: true} {
		if s, known := m.get(fmt.Sprint(i)); known != want || known && s.Step != i {
			t.Errorf("state %d is remembered: %v, as %+v; want %v", i, known, s, want)
		}
	}
	if len(m.states) != remembered {
		t.Errorf("%d states are kept, want %d", len(m.states), remembered)
	}
}

func TestWhatCantBeReadIsRefusedEachTime(t *testing.T) {
	for range 2 {
		if _, err := DecodeState(`{"v":1,"unknown":true}`); err == nil {
			t.Error("an unknown field was taken")
		}
	}
}

// fill gives every field a value, slices one of two elements.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if at, is := v.Addr().Interface().(*time.Time); is {
			*at = time.Unix(1772600768, 0).UTC()
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("some")
	}
}

// shared are the paths at which two values lead to the same memory.
func shared(path string, a, b reflect.Value) (all []string) {
	switch a.Kind() {
	case reflect.Struct:
		if _, is := a.Interface().(time.Time); is {
			return nil
		}
		for i := range a.NumField() {
			all = append(all, shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))...)
		}
	case reflect.Pointer, reflect.Map:
		if a.UnsafePointer() == b.UnsafePointer() {
			return []string{path}
		}
		if a.Kind() == reflect.Pointer {
			return shared(path, a.Elem(), b.Elem())
		}
		for _, key := range a.MapKeys() {
			all = append(all, shared(fmt.Sprintf("%s[%v]", path, key), a.MapIndex(key), b.MapIndex(key))...)
		}
	case reflect.Slice:
		if a.UnsafePointer() == b.UnsafePointer() {
			return []string{path}
		}
		for i := range a.Len() {
			all = append(all, shared(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))...)
		}
	case reflect.Chan, reflect.Func, reflect.Interface:
		return []string{path + ", of a kind that clone knows nothing of"}
	}
	return all
}
