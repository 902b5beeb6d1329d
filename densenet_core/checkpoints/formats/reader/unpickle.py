"""Read pickles without running them: every global is an inert stand-in, and nothing is ever called.

The standard library's unpickler does the parsing. Objects of unknown classes become ``Inert`` records of their class,
arguments and state. No number in the file allocates memory: the stream ends where the file ends.
"""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from ..limits import MAX_MARKS, MAX_OPCODES, MAX_STACK
from .output import HARM, Damaged, Refused

_SAVE_ARRAYS = "save its arrays with numpy.savez, or the state dict with torch.save"
# of protocols 0 and 1: their first argument is the class
_CLASS_MAKERS = {f"{module}.{name}" for module in ("copyreg", "copy_reg") for name in ("_reconstructor", "__newobj__")}
_CHECKED_EVERY = 1_000  # opcodes
_TOO_MUCH = f"its pickle has more parts than any network's: {HARM}"
_ATTACKS = {
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "pty", "runpy", "importlib", "ctypes", "webbrowser",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.__import__", "torch.load",
    "__builtin__.eval", "__builtin__.exec", "__builtin__.compile", "__builtin__.open", "__builtin__.__import__",
}  # fmt: skip


class Global:
    """A name that the pickle refers to: a class, a function or a constant."""

    def __init__(self, name: str) -> None:
        self.name = name


class Inert:
    """An object that is not created: the name of its maker, its arguments, its state and its items."""

    def __init__(self, name: str, args: Any = ()) -> None:
        self.name, self.args = name, args
        self.state: Any = None
        self.items: dict[Any, Any] = {}
        self.entries: list[Any] = []


class Key:
    """A dictionary's key that is neither text nor a number: hashing nested tuples can take forever."""

    def __init__(self, value: Any) -> None:
        self.value = value


# Creates the object of a known name from its arguments
Rebuild = Callable[[Any], Any]
codecs.lookup("raw_unicode_escape")  # of protocol 0: imported while modules can be
_PLAIN_KEYS = (str, int, float, bool, bytes, type(None))


def _key(key: Any) -> Any:
    return key if type(key) in _PLAIN_KEYS else Key(key)


_Base: Any = pickle._Unpickler


class Unpickler(_Base):  # type: ignore[misc]
    """Reads one pickle of a stream.

    Args:
        rebuilds: the functions that are interpreted, by name.
        persistent: returns the object of a persistent id.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Base.dispatch)

    def __init__(self, stream: Any, rebuilds: dict[str, Rebuild], persistent: Callable[[Any], Any]) -> None:
        super().__init__(stream, encoding="latin1")
        self._rebuilds, self._persistent = rebuilds, persistent
        self._num_copied = 0  # entries of containers that were made of others

    def load(self) -> Any:
        """Read the pickle.

        Raises:
            Refused: it has more parts, or is nested more deeply, than any network's.
        """
        self._unframer = pickle._Unframer(self._file_read, self._file_readline)  # type: ignore[attr-defined]
        self.read, self.readline = self._unframer.read, self._unframer.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        read, dispatch = self.read, self.dispatch
        try:
            for number in range(MAX_OPCODES):
                dispatch[(read(1) or self._fail_at_end())[0]](self)
                if not number % _CHECKED_EVERY:
                    self._check_stack()
        except pickle._Stop as stopped:  # type: ignore[attr-defined]
            return stopped.value
        raise Damaged(_TOO_MUCH)

    def _fail_at_end(self) -> bytes:
        raise EOFError("it ends before its last instruction")

    def _check_stack(self) -> None:
        waiting = len(self.stack) + sum(map(len, self.metastack[: MAX_MARKS + 1]))
        if len(self.metastack) > MAX_MARKS or waiting > MAX_STACK:
            raise Damaged(_TOO_MUCH)

    def find_class(self, module: str, name: str) -> Global:
        if module.startswith("joblib."):  # which puts arrays between the parts of its pickle
            raise Refused(f"the file was written by joblib: load it and {_SAVE_ARRAYS}")
        return Global(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return self._persistent(pid)

    def get_extension(self, code: int) -> None:
        self.append(Global(f"extension {code}"))

    def make(self, maker: Any, args: Any) -> Any:
        """Return the stand-in for the result of a call."""
        name = maker.name if isinstance(maker, Global) else type(maker).__name__
        if isinstance(maker, Global) and (name in _ATTACKS or name.split(".", 1)[0] in _ATTACKS):
            raise Refused(
                f"the file wants to run code of its own ({name}), which is refused: "
                "get it from a source that you trust, as the state_dict() of the network"
            )
        if name in _CLASS_MAKERS and isinstance(args, tuple) and args and isinstance(args[0], Global):
            return Inert(args[0].name, args[2:] if name.endswith("_reconstructor") else args[1:])
        rebuild = self._rebuilds.get(name)
        if rebuild is None or not isinstance(args, tuple):
            return Inert(name, args)
        self._num_copied += sum(len(arg) for arg in args if isinstance(arg, (list, tuple, dict)))
        if self._num_copied > MAX_OPCODES:
            raise Damaged(_TOO_MUCH)
        return rebuild(args)


def _opcode(code: bytes) -> Callable[[Callable[[Unpickler], None]], Callable[[Unpickler], None]]:
    def register(function: Callable[[Unpickler], None]) -> Callable[[Unpickler], None]:
        Unpickler.dispatch[code[0]] = function
        return function

    return register


@_opcode(pickle.REDUCE)
def _reduce(self: Unpickler) -> None:
    args = self.stack.pop()
    self.stack[-1] = self.make(self.stack[-1], args)


@_opcode(pickle.NEWOBJ)
def _new(self: Unpickler) -> None:
    _reduce(self)


@_opcode(pickle.NEWOBJ_EX)
def _new_with_keywords(self: Unpickler) -> None:
    self.stack.pop()
    _reduce(self)


@_opcode(pickle.OBJ)
def _object(self: Unpickler) -> None:
    args = self.pop_mark()
    self.append(self.make(args[0], tuple(args[1:])))


@_opcode(pickle.INST)
def _instance(self: Unpickler) -> None:
    module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
    self.append(self.make(Global(f"{module}.{name}"), tuple(self.pop_mark())))


@_opcode(pickle.BUILD)
def _build(self: Unpickler) -> None:
    state = self.stack.pop()
    built = self.stack[-1]
    if hasattr(built, "set_state"):
        built.set_state(state)
    elif isinstance(built, Inert):
        built.state = state


@_opcode(pickle.SETITEM)
def _set_item(self: Unpickler) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    _set(self.stack[-1], [key, value])


@_opcode(pickle.SETITEMS)
def _set_items(self: Unpickler) -> None:
    items = self.pop_mark()
    _set(self.stack[-1], items)


def _set(target: Any, items: list[Any]) -> None:
    held = target.items if isinstance(target, Inert) else target
    if not isinstance(held, dict) or len(items) % 2:
        raise pickle.UnpicklingError("items without a dictionary")
    held.update((_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))


@_opcode(pickle.DICT)
def _dict(self: Unpickler) -> None:
    items, held = self.pop_mark(), dict[Any, Any]()
    _set(held, items)
    self.append(held)


@_opcode(pickle.APPEND)
def _append(self: Unpickler) -> None:
    value = self.stack.pop()
    _extend(self.stack[-1], [value])


@_opcode(pickle.APPENDS)
@_opcode(pickle.ADDITEMS)
def _appends(self: Unpickler) -> None:
    values = self.pop_mark()
    _extend(self.stack[-1], values)


def _extend(target: Any, values: list[Any]) -> None:
    held = target.entries if isinstance(target, Inert) else target
    if not isinstance(held, list):
        raise pickle.UnpicklingError("entries without a list")
    held.extend(values)


@_opcode(pickle.EMPTY_SET)
def _set_of_none(self: Unpickler) -> None:
    self.append([])


@_opcode(pickle.FROZENSET)
def _frozen_set(self: Unpickler) -> None:
    self.append(self.pop_mark())


@_opcode(pickle.BYTEARRAY8)
def _byte_array(self: Unpickler) -> None:
    size = int.from_bytes(self.read(8), "little")
    self.append(self.read(min(size, 2**62)))
