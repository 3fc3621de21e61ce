"""gpunet's recipe for tables next to other libraries', on real data sets."""
