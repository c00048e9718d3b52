from zoneinfo import ZoneInfo

from gateway.app.alerting import receivers, wanted
from gateway.config import Config, parse
from gateway.core.alerts import Event
from gateway.core.secret import Secret

SECRET = "whsec_" + 32 * "A"


def config(text: str) -> Config:
    return parse(text.encode(), {})


def test_without_webhooks_nothing_is_wanted():
    assert wanted(Config()).webhooks == ()
    assert receivers(Config()) == []


def test_what_is_configured_is_wanted():
    made = config(
        f"""
        webhooks: {{ops: {{url: "https://h/x", secret: {SECRET}}}}}
        limits: {{alert_at: [90], timezone: Europe/Berlin}}
        """
    )
    found = wanted(made)
    assert (found.percents, found.webhooks) == ((90,), ("ops",))
    assert found.zone == ZoneInfo("Europe/Berlin")
    [receiver] = receivers(made)
    assert (receiver.name, receiver.url) == ("ops", "https://h/x")
    assert receiver.secret == Secret(SECRET)
    assert SECRET not in repr(receiver)


def test_by_default_a_half_four_fifths_and_the_whole_are_told():
    assert wanted(Config()).percents == (50, 80, 100)
    assert wanted(Config()).zone == ZoneInfo("UTC")


def test_the_events_of_the_configuration_are_those_of_the_core():
    webhook = config(f"webhooks: {{ops: {{url: 'https://h', secret: {SECRET}}}}}").webhooks["ops"]
    assert webhook.events == tuple(event.value for event in Event)
