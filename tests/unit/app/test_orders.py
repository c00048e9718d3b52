"""What a process is told, once and for good."""

from gateway.app.orders import Orders


def test_the_second_order_ends_the_grace():
    orders = Orders()
    orders.to_end()
    assert (orders.drain.is_set(), orders.cut.is_set()) == (True, False)
    orders.to_end()
    assert orders.cut.is_set()


def test_who_is_told_to_drain_again_goes_on_draining():
    orders = Orders()
    orders.to_drain()
    orders.to_drain()
    assert (orders.drain.is_set(), orders.cut.is_set()) == (True, False)


def test_an_orphan_drains():
    orders = Orders()
    orders.orphan()
    assert (orders.drain.is_set(), orders.is_orphaned, orders.cut.is_set()) == (True, True, False)
