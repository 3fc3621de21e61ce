// Empty: a kernel has what it may use of this header without it.
