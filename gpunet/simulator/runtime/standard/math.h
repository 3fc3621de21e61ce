// Empty: constants.h is included in front of every kernel, and the compiler has the functions.
