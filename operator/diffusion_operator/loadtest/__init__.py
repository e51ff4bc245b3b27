"""LoadTest: reconciler, status, runner Job, load plan, run identity, admission, history."""
