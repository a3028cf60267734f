package pushtask

// Complete tells whether every declared field is written by hand.
var Complete = complete
