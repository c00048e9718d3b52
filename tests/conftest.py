"""What holds for every test of the project."""

import os

from hypothesis import settings

# Two cores that others use too: a deadline would measure them, and not the code. In CI the examples
# are the same each time, so that a change is judged by what it changes.
settings.register_profile("developer", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "developer")
