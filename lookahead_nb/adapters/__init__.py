"""Adapters to other libraries, each imported when it is used: ``adapters.sklearn``, ``.scipy`` and ``.torch``."""

from importlib import import_module
from types import ModuleType

__all__ = ["scipy", "sklearn", "torch"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"{__name__} has no adapter {name}: there are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
