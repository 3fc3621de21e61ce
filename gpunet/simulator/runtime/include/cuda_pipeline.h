// The compiler is told to include cuda_pipeline.h of the runtime, which the macros of a source must not meet.
#pragma once
#pragma gpunet include cuda_pipeline.h
