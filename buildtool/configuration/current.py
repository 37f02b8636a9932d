"""The one place that holds the configuration which is valid now."""

from attrs import define

from buildtool.configuration.settings import Settings


@define(eq=False)
class CurrentConfiguration:
    """The holder of the settings that are valid now; a reload replaces ``settings`` as a whole.

    Read ``settings`` once where several of its values have to agree: they may be others after a wait.
    """

    settings: Settings
