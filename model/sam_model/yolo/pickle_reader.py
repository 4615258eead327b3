"""A pickle reader that executes nothing: no name in the pickle is imported, called or set.

A pickle is a program for a small stack machine, which builds containers and calls what it names. This reader builds the
containers. A name becomes a `Known`, and a call of one an `Inert` object, which only stores the arguments. An
unexpected name stops the reader.

Source: the opcodes as described by `pickletools` of Python's standard library, protocols 0 to 5.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO


class RefusedPickleError(ValueError):
    """A pickle asks for something that is not allowed, or is invalid."""


@dataclass(frozen=True)
class Known:
    """A name that pickles may mention. It is not imported."""

    name: str  # with its module


@dataclass(eq=False)
class Inert:
    """Placeholder of an object of class `name`, created with `arguments` and given `state`."""

    name: str
    arguments: tuple[Any, ...]
    state: dict[Any, Any] = field(default_factory=dict)


MARK = object()
NUMBERS = {"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"}
TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
VALUES = NUMBERS | TEXTS | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
PLAIN = (
    str,
    bytes,
    int,
    float,
    type(None),
)  # allowed types of keys; the hash of a deeply nested tuple would overflow the stack
Constructor = Callable[..., Any]


class PickleReader:
    """Reads one pickle after the other from a file."""

    def __init__(
        self, is_known: Callable[[str], bool], constructors: dict[str, Constructor], from_outside: Callable[[Any], Any]
    ) -> None:
        """Set what pickles may contain.

        Args:
            is_known: whether a class or function becomes `Known`, given with its module, such as `torch.Size`.
            constructors: for some of these, the function whose result replaces `Inert`; must accept any arguments.
            from_outside: returns the object of a persistent id.
        """
        self.is_known, self.constructors, self.from_outside = is_known, constructors, from_outside

    def read(self, file: BinaryIO) -> Any:
        """Return the content of the next pickle in `file`, and leave the file positioned after it.

        Raises:
            RefusedPickleError: the pickle asks for something that is not allowed, is truncated or invalid.
        """
        run = _Run(self)
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STOP":
                    return run.pop()
                run.step(opcode.name, argument)
        except RefusedPickleError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError) as error:
            raise RefusedPickleError(f"truncated or not a pickle: {error}") from None
        raise RefusedPickleError("truncated")


class _Run:
    """Stack and memo of one pickle."""

    def __init__(self, reader: PickleReader) -> None:
        self.reader = reader
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in VALUES:
            self.stack.append(argument)
        elif opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode])
        elif opcode in STEPS:
            STEPS[opcode](self, argument)
        else:
            said = f"{opcode} {argument}" if argument is not None else opcode
            raise RefusedPickleError(f"it asks for {said}, which no checkpoint has")

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise RefusedPickleError("not a pickle: it pops from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise RefusedPickleError("not a pickle: a mark is missing")

    def last(self, kind: type, doing: str) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            found = _name_of(self.stack[-1]) if self.stack else "nothing"
            raise RefusedPickleError(f"it asks to {doing} {found}")
        return self.stack[-1]

    def global_(self, module: Any, name: Any) -> Known:
        full = f"{module}.{name}"
        # two ways to split "a.b.c" name two things: only a name without dots is looked up
        if not (isinstance(module, str) and isinstance(name, str)) or "." in name or not self.reader.is_known(full):
            raise RefusedPickleError(f"it asks for {full}")
        return Known(full)

    def call(self, called: Any, arguments: Any) -> None:
        if not isinstance(called, Known):
            raise RefusedPickleError(f"it asks to call {_name_of(called)}")
        if type(arguments) is not tuple:
            raise RefusedPickleError(f"it asks to call {called.name} with {_name_of(arguments)}")
        constructor = self.reader.constructors.get(called.name)
        self.stack.append(constructor(*arguments) if constructor else Inert(called.name, arguments))

    def set_items(self, pairs: list[Any]) -> None:
        target = self.last(dict, "set items of")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_plain(key)] = value

    def build(self, state: Any) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is dict:  # attributes of an OrderedDict, such as a state dict's `_metadata`
            return
        if not isinstance(target, Inert):
            raise RefusedPickleError(f"it asks to set the state of {_name_of(target)}")
        if type(state) is dict:
            target.state.update(state)
        else:
            target.state["state"] = state


def _drop(_: Any) -> None:
    pass


def _put(run: _Run, place: int) -> None:
    if not run.stack:
        raise RefusedPickleError("not a pickle: it stores a value from an empty stack")
    run.memo[place] = run.stack[-1]


def _call_marked(run: _Run) -> None:
    items = run.pop_to_mark()
    run.call(items[0], tuple(items[1:]))


def _tuple_of(count: int) -> Callable[[_Run, Any], None]:
    def step(run: _Run, _: Any) -> None:
        items = [run.pop() for _ in range(count)]
        run.stack.append(tuple(reversed(items)))

    return step


def _binary(step: Callable[[_Run, Any, Any], None]) -> Callable[[_Run, Any], None]:
    """Return a step that takes the two topmost values, the lower one first."""

    def take(run: _Run, _: Any) -> None:
        upper, lower = run.pop(), run.pop()
        step(run, lower, upper)

    return take


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_plain(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _plain(key: Any) -> Any:
    if type(key) not in (*PLAIN, bool):
        raise RefusedPickleError(f"it asks for {_name_of(key)} as a key")
    return key


def _instance(run: _Run, argument: str) -> None:
    module, _, name = argument.rpartition(" ")
    run.call(run.global_(module, name), tuple(run.pop_to_mark()))


def _global(run: _Run, argument: str) -> None:
    module, _, name = argument.rpartition(" ")
    run.stack.append(run.global_(module, name))


def _new_with_keywords(run: _Run, _: Any) -> None:
    keywords, arguments, called = run.pop(), run.pop(), run.pop()
    if keywords != {}:
        raise RefusedPickleError(f"it asks to call {_name_of(called)} with keywords")
    run.call(called, arguments)


def _name_of(value: Any) -> str:
    return value.name if isinstance(value, Known | Inert) else f"something of type {type(value).__name__}"


STEPS: dict[str, Callable[[_Run, Any], None]] = {
    "PROTO": lambda run, _: None,
    "FRAME": lambda run, _: None,
    "MARK": lambda run, _: run.stack.append(MARK),
    "POP": lambda run, _: _drop(run.stack.pop()),
    "POP_MARK": lambda run, _: _drop(run.pop_to_mark()),
    "DUP": lambda run, _: run.stack.append(run.stack[-1]),
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": lambda run, _: _put(run, len(run.memo)),
    "GET": lambda run, place: run.stack.append(run.memo[place]),
    "BINGET": lambda run, place: run.stack.append(run.memo[place]),
    "LONG_BINGET": lambda run, place: run.stack.append(run.memo[place]),
    "EMPTY_LIST": lambda run, _: run.stack.append([]),
    "EMPTY_DICT": lambda run, _: run.stack.append({}),
    "EMPTY_SET": lambda run, _: run.stack.append(set()),
    "LIST": lambda run, _: run.stack.append(run.pop_to_mark()),
    "TUPLE": lambda run, _: run.stack.append(tuple(run.pop_to_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "DICT": lambda run, _: run.stack.append(_pairs(run.pop_to_mark())),
    "FROZENSET": lambda run, _: run.stack.append(frozenset(_plain(item) for item in run.pop_to_mark())),
    "APPEND": lambda run, _: _append(run, [run.pop()]),
    "APPENDS": lambda run, _: _append(run, run.pop_to_mark()),
    "ADDITEMS": lambda run, _: _add(run, run.pop_to_mark()),
    "SETITEM": _binary(lambda run, key, value: run.set_items([key, value])),
    "SETITEMS": lambda run, _: run.set_items(run.pop_to_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _binary(lambda run, module, name: run.stack.append(run.global_(module, name))),
    "INST": _instance,
    "OBJ": lambda run, _: _call_marked(run),
    "REDUCE": _binary(lambda run, called, arguments: run.call(called, arguments)),
    "NEWOBJ": _binary(lambda run, called, arguments: run.call(called, arguments)),
    "NEWOBJ_EX": _new_with_keywords,
    "BUILD": lambda run, _: run.build(run.pop()),
    "PERSID": lambda run, name: run.stack.append(run.reader.from_outside(name)),
    "BINPERSID": lambda run, _: run.stack.append(run.reader.from_outside(run.pop())),
}


def _append(run: _Run, items: list[Any]) -> None:
    run.last(list, "append to").extend(items)


def _add(run: _Run, items: list[Any]) -> None:
    run.last(set, "add to").update(_plain(item) for item in items)
