import importlib
import pkgutil
import re
from collections.abc import Iterator

import sam_backend
from sam_backend import errors
from sam_backend.errors import BackendError


def subclasses(kind: type[BackendError]) -> Iterator[type[BackendError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("sam_backend."):
            yield each
            yield from subclasses(each)


def test_the_tree_in_errors_py_has_every_error_with_its_parent_and_status() -> None:
    for module in pkgutil.walk_packages(sam_backend.__path__, "sam_backend."):
        if module.name != "sam_backend.ml_backend":  # needs label-studio-ml
            importlib.import_module(module.name)

    documented, path = {}, ["BackendError"]
    for indent, name, status in re.findall(r"^([│├└─ ]+)(\w+Error) +(\d{3})", str(errors.__doc__), re.M):
        depth = len(indent) // 4
        path[depth:] = [name]
        documented[name] = (path[depth - 1], int(status))

    assert documented == {each.__name__: (each.__bases__[0].__name__, each.status) for each in subclasses(BackendError)}
