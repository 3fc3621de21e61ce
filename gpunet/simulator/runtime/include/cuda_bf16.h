// The pragma includes cuda_bf16.h of the runtime after preprocessing, so that a source's macros do not change it.
#pragma once
#pragma gpunet include cuda_bf16.h
