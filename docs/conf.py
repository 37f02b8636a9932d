"""How Sphinx renders the manuals (`make docs`). They are plain reStructuredText and Markdown, readable without it."""

from pathlib import PurePosixPath
from posixpath import normpath

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

project = "buildtool"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.rst", "CHANGES.rst", "CONTRIBUTING.rst", "SECURITY.rst", "docs/**"]
exclude_patterns = ["docs/conf.py"]
html_theme = "alabaster"
html_theme_options = {"page_width": "72em", "sidebar_width": "16em"}
html_show_copyright = False
html_show_sphinx = False
nitpicky = True

PAGES = (
    "README docs/requester docs/donor docs/operator docs/api docs/tutorial docs/integrator docs/architecture"
    " docs/lifecycles docs/performance docs/runbooks/index docs/adr/README CONTRIBUTING SECURITY CHANGES"
).split()


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add the lists by which Sphinx knows what belongs where; docutils alone, and a reader of the files, want none."""
    if name == root_doc:
        source[0] += "\n.. toctree::\n   :hidden:\n\n" + "".join(f"   /{page}\n" for page in PAGES)
    elif name == "docs/runbooks/index":
        source[0] += "\n.. toctree::\n   :hidden:\n   :glob:\n\n   *\n"
    elif name == "docs/adr/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n[0-9]*\n```\n"


def link_pages(app: Sphinx, tree: nodes.document) -> None:
    """Make links to files of ours links to their pages; Sphinx then says which of them are not there."""
    here = PurePosixPath(app.env.docname).parent
    for node in list(tree.findall(nodes.reference)):
        target = node.get("refuri", "").partition("#")[0]
        if "://" not in target and target.endswith((".rst", ".md")):
            page = PurePosixPath(normpath(here / target)).with_suffix("")
            node.replace_self(
                pending_xref(
                    "",
                    *node.children,
                    refdomain="std",
                    reftype="doc",
                    refdoc=app.env.docname,
                    reftarget=f"/{page}",
                    refexplicit=True,
                    refwarn=True,
                )
            )


def setup(app: Sphinx) -> None:
    """Connect both to what Sphinx does."""
    app.connect("source-read", add_contents)
    app.connect("doctree-read", link_pages)
