"""Methods of a family of classes, wrapped while it is wanted: those that are there, and those that come later."""

from __future__ import annotations

from functools import partial, update_wrapper, wraps
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Observer(Protocol):
    """Sees the calls of the wrapped methods."""

    def __call__(self, owner: Any, method: str, call: Callable[[], Any], features: Any) -> Any:  # noqa: ANN401  # whatever the method takes and gives
        """Make the call, and give what it gives.

        Args:
            owner: The object whose method is called; the caller's frame is two above this one.
            method: Its name.
            call: The original, with its arguments.
            features: The first argument; None without one.
        """
        ...


class MethodWrapping:
    """Wraps methods of all classes that derive from one, until it is undone; each where it is defined.

    Args:
        base: The class.
        methods: Names.
        observer: What their calls go through.
    """

    def __init__(self, base: type, methods: Sequence[str], observer: Observer) -> None:
        self._base = base
        self._methods = tuple(methods)
        self._observer = observer
        self._known: set[tuple[type, str]] = set()
        self._wrapped: list[tuple[type, str, object, object]] = []

    def apply(self) -> None:
        """Wrap what is there, and from now on every class that is defined."""
        for each in [self._base, *_descendants(self._base)]:
            self._wrap(each)
        base: Any = self._base
        wrap = self._wrap

        def wrap_new(cls: Any, /, **kwargs: Any) -> None:  # noqa: ANN401  # of the class statement
            super(base, cls).__init_subclass__(**kwargs)
            wrap(cls)

        self._replace(base, "__init_subclass__", classmethod(wrap_new))

    def undo(self) -> None:
        """Put the originals back, except where somebody else has wrapped them since."""
        for cls, name, original, ours in reversed(self._wrapped):
            if vars(cls).get(name) is not ours:
                continue
            if original is None:
                delattr(cls, name)
            else:
                setattr(cls, name, original)
        self._wrapped.clear()
        self._known.clear()

    def _wrap(self, cls: type) -> None:
        for name in self._methods:
            for owner in cls.__mro__:  # a mixin, which many classes share, derives from nothing
                self._wrap_own(owner, name)

    def _wrap_own(self, cls: type, name: str) -> None:
        original = vars(cls).get(name)
        if original is None or (cls, name) in self._known:
            return
        self._known.add((cls, name))
        if isinstance(original, FunctionType):
            self._replace(cls, name, _watched_function(original, name, self._observer))
        elif hasattr(original, "__get__"):
            self._replace(cls, name, _WatchedDescriptor(original, name, self._observer))

    def _replace(self, cls: type, name: str, ours: object) -> None:
        self._wrapped.append((cls, name, vars(cls).get(name), ours))
        setattr(cls, name, ours)


def _descendants(base: type) -> Iterator[type]:
    """Every class that derives from another one, once."""
    found: dict[type, None] = {}
    waiting = [base]
    while waiting:
        children: list[type] = type.__subclasses__(waiting.pop())
        waiting += [child for child in children if child not in found]
        found |= dict.fromkeys(children)
    return iter(found)


def _watched_function(original: FunctionType, name: str, observer: Observer) -> FunctionType:
    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # of the original
        return observer(self, name, partial(original, self, *args, **kwargs), _first(args, kwargs))

    return cast("FunctionType", method)


class _WatchedDescriptor:
    """Stands for a descriptor that gives a method, or says that the object has none, as scikit-learn's delegates do."""

    def __init__(self, original: Any, name: str, observer: Observer) -> None:  # noqa: ANN401  # any descriptor
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # of the original
            return original.__get__(self, type(self))(*args, **kwargs)

        method.__name__ = name  # by which a bound method is pickled
        documented = getattr(original, "__wrapped__", None)
        if callable(documented):
            update_wrapper(method, documented)
        self._original = original
        self._method = _watched_function(cast("FunctionType", method), name, observer)
        update_wrapper(cast("Any", self), original)

    def __get__(self, owner: Any, kind: type | None = None) -> Any:  # noqa: ANN401  # of the descriptor protocol
        found = self._original.__get__(owner, kind)  # raises where the object has no such method
        return found if owner is None else MethodType(self._method, owner)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # the features, of any library
    return args[0] if args else kwargs.get("X")
