"""LoadTest: reconciler, observation, admission, status; specs of its children, run analysis."""
