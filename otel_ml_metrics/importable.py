"""What settings name as `package.module:name`: imported, never evaluated."""

from __future__ import annotations

from importlib import import_module

from otel_ml_metrics.errors import ConfigurationError, suggest


def imported(path: str) -> object:
    """What `package.module:name` names; the name may have dots.

    >>> imported("math:hypot")(3, 4)
    5.0

    Raises:
        ConfigurationError: There is nothing of that name; says which part is missing, and offers what is there.
    """
    module_name, _, name = path.partition(":")
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as missing:
        advice = "Install it, or put the folder that it lies in on PYTHONPATH."
        message = f"{path!r} cannot be imported: there is no module {missing.name!r}. {advice}"
        raise ConfigurationError(message) from missing
    except Exception as error:
        message = f"{path!r} cannot be imported: {type(error).__name__}: {error}. Mend {module_name or 'the name'}."
        raise ConfigurationError(message) from error
    for part in name.split("."):
        if not hasattr(found, part):
            offered = suggest(part, [each for each in dir(found) if not each.startswith("_")])
            message = f"{path!r} cannot be imported: {module_name} has no {part!r}. {offered}"
            raise ConfigurationError(message.rstrip())
        found = getattr(found, part)
    return found
