package worker

func UntilUnchanged(passes int, pass func() (bool, error)) error { return untilUnchanged(passes, pass) }
