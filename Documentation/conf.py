# SPDX-License-Identifier: MIT
#
# Sphinx's view of this folder (`make html`). The pages are written to be read as they are, too.
import re
from pathlib import Path

project = "sherd"
author = "the sherd authors"
copyright = author
release = re.search(r"^VERSION := (.*)$", (Path(__file__).parent.parent / "Makefile").read_text(),
                    re.M).group(1)
master_doc = "index"
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "language models on embedded boards", "page_width": "1100px",
                      "sidebar_width": "230px"}
html_show_copyright = False
html_show_sourcelink = False
highlight_language = "none"
