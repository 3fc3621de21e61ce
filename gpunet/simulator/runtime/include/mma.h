// The compiler is told to include wmma.h of the runtime, which the macros of a source must not meet.
#pragma once
#pragma gpunet include wmma.h
