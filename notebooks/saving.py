"""What Jupyter saves of a committed notebook: `make lab` gives this hook to the server.

A notebook that is opened takes the language_info of its kernel, the version of Python included, and is saved with it a
moment later. The committed files hold the name of the language alone (see ``metadata`` in reproduce.py).
"""

import json
import pathlib


def as_built(model, path, contents_manager, **_):
    """Keep the language_info of a notebook as it is in its file, if that holds a name alone."""
    file = pathlib.Path(contents_manager.root_dir, path.strip("/"))
    if model["type"] != "notebook" or not file.is_file():
        return
    stored = json.loads(file.read_text(encoding="utf-8"))["metadata"].get("language_info", {})
    if [*stored] == ["name"]:
        model["content"]["metadata"]["language_info"] = stored
