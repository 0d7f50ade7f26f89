package contract
var clients []sentence
