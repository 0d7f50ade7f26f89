package contract
var workloads []sentence
