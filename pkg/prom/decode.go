package prom

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
)

// answer is a body of the query API.
type answer struct {
	status, errorType, err string
	resultType             string
	series                 []Series
	warnings               []string
}

// maxDepth bounds how deep a skipped value may nest.
const maxDepth = 64

// buffers are kept: most answers are shorter than one.
var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// decode reads an answer as a stream: of an answer of a hundred thousand series
// nothing is kept but the series themselves. Fields it doesn't know are skipped.
func decode(r io.Reader) (answer, error) {
	buffer := buffers.Get().(*bufio.Reader)
	buffer.Reset(r)
	defer func() {
		buffer.Reset(nil)
		buffers.Put(buffer)
	}()
	d := decoder{r: buffer, known: map[string]string{}}
	var a answer
	err := d.object(func(key string) error {
		switch key {
		case "status":
			return d.text(&a.status)
		case "errorType":
			return d.text(&a.errorType)
		case "error":
			return d.text(&a.err)
		case "warnings":
			return d.array(func() error {
				a.warnings = append(a.warnings, "")
				return d.text(&a.warnings[len(a.warnings)-1])
			})
		case "data":
			return d.data(&a)
		}
		return d.skip(0)
	})
	return a, err
}

// decoder reads just the JSON that Prometheus sends: strictly where a value is
// used, leniently where it is skipped.
type decoder struct {
	r       *bufio.Reader
	scratch []byte
	known   map[string]string // label names and values, most of which repeat
	labels  int               // how many the last series had: the next one has as many
	points  int               // likewise
}

func (d *decoder) data(a *answer) error {
	return d.object(func(key string) error {
		switch key {
		case "resultType":
			return d.text(&a.resultType)
		case "result":
			if a.resultType != "" && a.resultType != "matrix" {
				return d.skip(0)
			}
			return d.array(func() error {
				s, err := d.oneSeries()
				a.series = append(a.series, s)
				return err
			})
		}
		return d.skip(0)
	})
}

func (d *decoder) oneSeries() (s Series, err error) {
	err = d.object(func(key string) error {
		switch key {
		case "metric":
			return d.object(func(name string) error {
				value, err := d.string()
				if s.Labels == nil {
					s.Labels = make(Labels, 0, d.labels)
				}
				s.Labels = append(s.Labels, Label{name, value})
				return err
			})
		case "values":
			return d.array(func() error {
				p, err := d.point()
				if s.Points == nil {
					s.Points = make([]Point, 0, d.points)
				}
				s.Points = append(s.Points, p)
				return err
			})
		}
		return d.skip(0)
	})
	d.labels, d.points = len(s.Labels), len(s.Points)
	return s, err
}

// point is [seconds, "value"].
func (d *decoder) point() (p Point, err error) {
	if err := d.expect('['); err != nil {
		return p, err
	}
	at, err := d.number()
	if err != nil {
		return p, err
	}
	p.At = int64(math.Round(at * 1000))
	if c, err := d.next(); err != nil || c != ',' {
		return p, cmp.Or(err, errors.New("a point of fewer than two values"))
	}
	if p.Value, err = d.quotedNumber(); err != nil {
		return p, err
	}
	if c, err := d.next(); err != nil || c != ']' {
		return p, cmp.Or(err, errors.New("a point of more than two values"))
	}
	return p, nil
}

// next is the next byte that is no white space.
func (d *decoder) next() (byte, error) {
	for {
		c, err := d.r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c, nil
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *decoder) expect(want byte) error {
	c, err := d.next()
	if err == nil && c != want {
		err = fmt.Errorf("%q where %q should be", c, want)
	}
	return err
}

// object calls field with each key; field reads the value.
func (d *decoder) object(field func(key string) error) error {
	return d.list('{', '}', func() error {
		key, err := d.string()
		if err == nil {
			err = d.expect(':')
		}
		if err == nil {
			err = field(key)
		}
		return err
	})
}

// array calls element before each value; element reads it.
func (d *decoder) array(element func() error) error { return d.list('[', ']', element) }

func (d *decoder) list(first, last byte, element func() error) error {
	if err := d.expect(first); err != nil {
		return err
	}
	c, err := d.next()
	if err != nil || c == last {
		return err
	}
	if err := d.r.UnreadByte(); err != nil {
		return err
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch c, err = d.next(); {
		case err != nil:
			return err
		case c == last:
			return nil
		case c != ',':
			return fmt.Errorf("%q where %q or %q should be", c, ',', last)
		}
	}
}

func (d *decoder) text(into *string) (err error) {
	*into, err = d.string()
	return err
}

// string is a JSON string; equal ones share their memory.
func (d *decoder) string() (string, error) {
	raw, err := d.quoted()
	if err != nil {
		return "", err
	}
	if s, ok := d.known[string(raw)]; ok {
		return s, nil
	}
	s := string(raw[1 : len(raw)-1])
	if bytes.IndexByte(raw, '\\') >= 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", err
		}
	}
	d.known[string(raw)] = s
	return s, nil
}

// quoted is a string as it stands, with its quotes, valid until the next read.
func (d *decoder) quoted() ([]byte, error) {
	if err := d.expect('"'); err != nil {
		return nil, err
	}
	d.scratch = append(d.scratch[:0], '"')
	for {
		part, err := d.r.ReadSlice('"')
		d.scratch = append(d.scratch, part...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, unexpected(err)
		}
		if err == nil && !escaped(d.scratch) {
			return d.scratch, nil
		}
	}
}

// escaped tells that the quote at the end of s is part of the string.
func escaped(s []byte) bool {
	n := 0
	for i := len(s) - 2; i > 0 && s[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

func (d *decoder) quotedNumber() (float64, error) {
	raw, err := d.quoted()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(raw[1:len(raw)-1]), 64)
}

func (d *decoder) number() (float64, error) {
	raw, err := d.bare()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(raw), 64)
}

// bare is a number or one of the words true, false and null.
func (d *decoder) bare() ([]byte, error) {
	c, err := d.next()
	d.scratch = d.scratch[:0]
	for ; err == nil; c, err = d.r.ReadByte() {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
			d.scratch = append(d.scratch, c)
			continue
		}
		if len(d.scratch) == 0 {
			return nil, fmt.Errorf("%q where a value should be", c)
		}
		return d.scratch, d.r.UnreadByte()
	}
	return nil, unexpected(err)
}

// skip reads a value of any kind and forgets it.
func (d *decoder) skip(depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deeply")
	}
	c, err := d.next()
	if err != nil {
		return err
	}
	if err := d.r.UnreadByte(); err != nil {
		return err
	}
	switch c {
	case '"':
		_, err = d.quoted()
	case '{':
		err = d.object(func(string) error { return d.skip(depth + 1) })
	case '[':
		err = d.array(func() error { return d.skip(depth + 1) })
	default:
		_, err = d.bare()
	}
	return err
}
