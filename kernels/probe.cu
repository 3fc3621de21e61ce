// probe.cu: out[i] = i for i < n. One block of n threads; 4n bytes written, no FLOPs.
//
// The smallest kernel that proves a GPU usable. It is compiled by NVRTC, loaded by the driver and run when a CUDA
// device is first used, so that "auto" never chooses a device on which the first real kernel would fail.

extern "C" __global__ void probe(int* out, int n) {
    const int i = threadIdx.x;
    if (i < n) out[i] = i;
}
