from quick_bench import quick

__all__ = ["quick"]
