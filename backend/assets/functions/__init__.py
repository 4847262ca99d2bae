"""Functions: what a task executes, uploaded as a build context."""
