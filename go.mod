module serin.dev/serin

go 1.26.0
