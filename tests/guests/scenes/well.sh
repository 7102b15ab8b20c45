# One request on a machine that is well.
first() {
  fresh
  deliver request
}
