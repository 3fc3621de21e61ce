// Empty: constants.h is included before every kernel, and the compiler declares the functions.
