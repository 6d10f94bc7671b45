# SPDX-License-Identifier: MIT
#
# templates.py: what transformers makes of chat templates: those that come along with sherd, those
# beside this file (templates/*.jinja: in our own words, with the constructs that the templates of
# well-known families are written in), and single expressions (templates/expressions.txt, one a
# line). Each is rendered for every conversation of templates/conversations.json; what comes, or that
# it fails, is templates/*.gold, which test_template.c wants again.
#
#   templates.py FOLDER BUILTINS
import datetime
import json
import sys
from pathlib import Path

from transformers.utils import chat_template_utils as utils

NOW = 1700000000  # 2023-11-14 22:13:20 UTC


class Clock(datetime.datetime):
    @classmethod
    def now(cls):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)


utils.datetime = Clock


def render(text, variables):
    """The text, or None where transformers raises something."""
    try:
        return utils._compile_jinja_template(text).render(**variables)
    except Exception:
        return None


def write(path, gold):
    path.write_text(json.dumps(gold, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def main(folder, builtins):
    folder = Path(folder)
    chats = json.loads((folder / "conversations.json").read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*.jinja")) + sorted(Path(builtins).glob("*.jinja")):
        text = path.read_text(encoding="utf-8")
        gold = {name: render(text, variables) for name, variables in chats.items()}
        write(folder / (path.stem + ".gold"), gold)
        print(path.stem, sum(v is not None for v in gold.values()), "of", len(gold), "render")
    lines = (folder / "expressions.txt").read_text(encoding="utf-8").splitlines()
    # a line's escapes are those of a JSON string
    texts = [json.loads(f'"{line}"') for line in lines if line and not line.startswith("#")]
    write(folder / "expressions.gold", [[t, render(t, chats["values"])] for t in texts])
    print("expressions", len(texts))


main(*sys.argv[1:])
