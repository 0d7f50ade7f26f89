module serin.dev/serin/e2e

go 1.26.0
