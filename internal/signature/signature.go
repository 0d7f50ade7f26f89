// Package signature signs the bodies of HTTP requests, and verifies them, as Standard
// Webhooks 1.0 says: for that there are libraries in most languages.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signature.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp" // seconds since 1970
	HeaderSignature = "Webhook-Signature" // signatures, separated by spaces, each "v1," and base64
)

// keyPrefix begins keys that are given in base64.
const keyPrefix = "whsec_"

// Sign is the signature of a body, sent under an id at a time in seconds since 1970:
// HMAC-SHA256 of the three with a "." between them (Standard Webhooks 1.0). A key that
// begins with whsec_ is base64 after that.
func Sign(key, id, at string, body []byte) (string, error) {
	secret := []byte(key)
	if coded, is := strings.CutPrefix(key, keyPrefix); is {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return "", errors.New("the key that signs is no base64 after whsec_")
		}
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + at + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// Headers are those of a body that is sent under an id now.
func Headers(key, id string, body []byte, now time.Time) (map[string]string, error) {
	at := strconv.FormatInt(now.Unix(), 10)
	s, err := Sign(key, id, at, body)
	return map[string]string{HeaderID: id, HeaderTimestamp: at, HeaderSignature: s}, err
}

// tolerance is how far a sender's clock may be off, and how long an answer to a try
// may be on its way.
const tolerance = 5 * time.Minute

// Verify fails for a body that was not signed by the key, or long ago, so that nobody
// sends it again.
func Verify(header http.Header, body []byte, key string, now time.Time) error {
	at := header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return fmt.Errorf("%s is no time", HeaderTimestamp)
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > tolerance {
		return fmt.Errorf("it was signed %s from now", off)
	}
	want, err := Sign(key, header.Get(HeaderID), at, body)
	if err != nil {
		return err
	}
	for got := range strings.FieldsSeq(header.Get(HeaderSignature)) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return nil
		}
	}
	return errors.New("no signature is right")
}
