from compiler.faults import caught

from gpunet.errors import KernelError


def test_a_fault_that_nothing_catches_is_told():
    assert caught(lambda: None) == ("NOT CAUGHT", "")


def test_what_catches_a_fault_is_told_with_its_line():
    def race():
        raise KernelError("kernel k: race: write of 4 bytes at columns.cuh:33 by thread (1,0,0) ...")

    def wrong_number():
        raise AssertionError("Not equal to tolerance")

    assert caught(race) == ("check mode: race", "columns.cuh:33")
    assert caught(wrong_number) == ("comparison with NumPy", "")
