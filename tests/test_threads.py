"""Work in threads: the order of results, and how far ahead items are drawn."""

import threading

import pytest

from cladescope.threads import in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_and_few_items_are_drawn_ahead(threads) -> None:
    drawn = []

    def items():
        for item in range(20):
            drawn.append(item)
            yield item

    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0 and threads > 1:
            assert first_may_end.wait(60)
        if item == 1:
            first_may_end.set()
        return item * item

    found = []
    for result in in_order(work, items(), threads):
        found.append(result)
        assert len(drawn) <= len(found) + threads
    assert found == [item * item for item in range(20)]


def test_a_fault_in_a_thread_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [1, 0, 2], threads=2))
