module serin.dev/serin/e2e/servers

go 1.26.0

require serin.dev/serin v0.0.0

replace serin.dev/serin => ../..
