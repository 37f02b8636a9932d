"""What an integrator's ``config.py`` imports: descriptions of options, recipes, and the Project itself.

Tested by tests/project/test_recipe.py and tests/project/test_recipe_check.py.
"""

from buildtool.errors import MachineFault, ToolMissing
from buildtool.model.options import Kind, Option, choice, flag, number, text, words
from buildtool.model.project_options import OptionGroup, ProjectOptions, group
from buildtool.model.properties import Comparison, Property, Role, standard
from buildtool.project.channels import channel
from buildtool.project.definition import Checked, Project
from buildtool.project.fetching import Download
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.project.telling import gitea_status, github_checks, github_status, gitlab_status, irc, webhook
from buildtool.project.triggers import every, nightly, on_poll, on_push, on_tag

__all__ = [
    "Checked", "Command", "Comparison", "Download", "Kind", "MachineFault", "Option", "OptionGroup", "Plan",
    "Project", "ProjectOptions", "Property", "Recipe", "Role", "ToolMissing", "Wanted", "channel", "choice",
    "every", "flag", "gitea_status", "github_checks", "github_status", "gitlab_status", "group", "irc", "nightly",
    "number", "on_poll", "on_push", "on_tag", "standard", "text", "webhook", "words",
]  # fmt: skip
