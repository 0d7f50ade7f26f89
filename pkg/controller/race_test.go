//go:build race

package controller

func init() { slow = 8 }
