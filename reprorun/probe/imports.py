"""What the launcher imports, where no file says what packages are needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.import_names import is_known, package_of
from reprorun.formats.installed import Environment, Installed, active_environment
from reprorun.formats.places import module_places
from reprorun.formats.python_imports import Import, imports_of
from reprorun.model import Code, Value

# What later Pythons have lost, or earlier ones lack: no package of an index is meant.
_ONCE_NAMES = """
aifc asynchat asyncore audioop binhex cgi cgitb chunk crypt distutils formatter imghdr imp lib2to3
mailcap msilib nis nntplib ossaudiodev parser pipes smtpd sndhdr spwd sunau symbol telnetlib
tomllib uu xdrlib
"""
_ONCE_STANDARD = frozenset(_ONCE_NAMES.split())
_OURS = frozenset(("reprorun", "__main__", "__future__"))


class Imports(Value, frozen=True, kw_only=True):
    """What was found."""

    lines: tuple[str, ...] = ()  # NAME==VERSION, or NAME
    paths: tuple[str, ...] = ()  # for the module search path, relative to the root
    notes: tuple[str, ...] = ()


def find_imports(
    code: Code,
    variables: dict[str, str] | None = None,
    *,
    installed: bool = True,
    without: Collection[str] = (),
) -> Imports:
    """The packages that the launcher and the local modules that it reaches import.

    Versions are those that are installed in the active environment, or in the Python that runs.

    Args:
        code: the launcher's repository.
        variables: environment variables, for the active environment.
        installed: false for code that was never run here: packages are then told by the names of
            the modules, and have no versions.
        without: top-level modules that need no package.

    Raises:
        UsageError: an import at the top of a module that is neither local nor installed.
    """
    environment = None
    if installed:
        environment = active_environment(dict(os.environ) if variables is None else variables)
    walk = _Walk(code, environment, without)
    walk.read(code.launcher)
    return walk.result()


class _Walk:
    """The local modules that were read, and the packages that they import."""

    def __init__(
        self, code: Code, environment: Environment | None, without: Collection[str]
    ) -> None:
        self._root = code.root
        self._environment = environment  # None: packages are told by the names of modules
        self._label = environment.label if environment else ""
        self._no_packages = _OURS.union(without)
        here = os.path.dirname(code.launcher) or "."
        self._places = list(dict.fromkeys((here, ".")))  # the launcher's directory comes first
        self._paths: list[str] = []
        self._read: dict[str, bool] = {}  # file: whether it is imported only under a condition
        self._installed: dict[str, Installed] = {}
        self._missing: dict[str, str] = {}  # module: where it is imported, under a condition
        self._notes: list[str] = []

    def result(self) -> Imports:
        lines = sorted(self._line(one) for one in self._installed.values())
        return Imports(
            lines=tuple(lines), paths=tuple(dict.fromkeys(self._paths)), notes=self._all_notes()
        )

    def read(self, path: str, *, conditional: bool = False) -> None:
        """Read a module and, first, what it imports without a condition."""
        waiting = [(path, conditional)]
        while waiting:
            path, conditional = waiting.pop()
            if self._read.get(path, True) <= conditional and path in self._read:
                continue
            self._read[path] = conditional
            for one in self._imports(path):
                reached = self._follow(path, one, conditional or one.conditional)
                waiting += [(file, conditional or one.conditional) for file in reached]

    def _imports(self, path: str) -> list[Import]:
        try:
            with open(os.path.join(self._root, path), "rb") as file:
                return imports_of(file.read(), path)
        except (OSError, UsageError) as error:
            self._notes.append(f"the imports of {path} are not known: {error}")
            return []

    def _follow(self, path: str, one: Import, conditional: bool) -> list[str]:
        """The local files that an import reaches; what it takes from packages is kept."""
        if one.level:
            here = os.path.normpath(os.path.join(os.path.dirname(path), "../" * (one.level - 1)))
            return self._files(here, one.module, one.names)
        top = one.module.split(".")[0]
        if top in self._no_packages or _is_standard(top):
            return []
        place = self._local(top, namespaces=self._environment is None)
        if place is None:
            brought = self._bringing(one, conditional, path)
            if brought:
                return []
            place = self._local(top, namespaces=True)
        if place is None:
            self._miss(path, one, conditional)
            return []
        if place != self._places[0]:
            self._paths.append(place)
        return self._files(place, one.module, one.names)

    def _local(self, top: str, *, namespaces: bool) -> str | None:
        """The place that has a module of that name; a plain directory is one, but comes last."""
        for place in self._places:
            base = os.path.join(place, top)
            if tree.is_file(self._root, f"{base}.py"):
                return place
            if tree.is_file(self._root, os.path.join(base, "__init__.py")):
                return place
            if namespaces and self._has_modules(base):
                return place
        return None

    def _has_modules(self, directory: str) -> bool:
        if not tree.is_directory(self._root, directory):
            return False
        full = os.path.join(self._root, directory)
        return any(name.endswith(".py") for _, _, names in os.walk(full) for name in names)

    def _files(self, place: str, module: str, names: tuple[str, ...]) -> list[str]:
        """The files of a module, of the packages that it lies in, and of names that are modules."""
        parts = module.split(".") if module else []
        found = [
            self._file(os.path.join(place, *parts[:length])) for length in range(len(parts) + 1)
        ]
        found += [self._file(os.path.join(place, *parts, name)) for name in names if name != "*"]
        return [file for file in found if file]

    def _file(self, base: str) -> str | None:
        for path in (f"{base}.py", os.path.join(base, "__init__.py")):
            if tree.is_file(self._root, path):
                return os.path.normpath(path)
        return None

    def _bringing(self, one: Import, conditional: bool, path: str) -> bool:
        """Keep the packages that a module comes from; whether there are any."""
        modules = [f"{one.module}.{name}" for name in one.names if name != "*"] or [one.module]
        if self._environment is None:
            return self._by_name(modules, conditional, f"{path}, line {one.line}")
        found = [each for module in modules for each in self._environment.bringing(module)]
        for installed in found:
            directory = installed.origin.directory if installed.origin else None
            if directory is None:
                self._installed[installed.name] = installed
                continue
            inside = tree.relative(self._root, directory)
            if inside is not None and tree.is_directory(self._root, inside):
                self._places += [
                    p for p in module_places(self._root, inside) if p not in self._places
                ]
                return self._local(one.module.split(".")[0], namespaces=True) is None
            self._refuse(path, one, installed.name, directory, conditional)
        return bool(found)

    def _by_name(self, modules: list[str], conditional: bool, place: str) -> bool:
        """Keep the packages that modules are named after; those that may be missing, if known."""
        for module in modules:
            package = package_of(module)
            if package is None or (conditional and not is_known(package)):
                self._missing.setdefault(package or module, place)
            else:
                self._installed[package] = Installed(name=package, version="")
        return True

    def _refuse(self, path: str, one: Import, name: str, directory: str, conditional: bool) -> None:
        """A working tree elsewhere can't be had again: an error, or under a condition a note."""
        if conditional:
            self._missing.setdefault(name, f"{path}, line {one.line}, from {directory}")
            return
        raise UsageError(
            f"{path}, line {one.line}: {name} is installed from {directory}, which is outside "
            "the repository and on no index. Move it inside, or write a requirements.txt."
        )

    def _miss(self, path: str, one: Import, conditional: bool) -> None:
        if conditional:
            self._missing.setdefault(one.module.split(".")[0], f"{path}, line {one.line}")
            return
        raise UsageError(
            f"{path}, line {one.line}: no file says what packages are needed, and {one.module} is "
            f"neither in the repository nor installed in {self._label}. "
            "Write a requirements.txt."
        )

    def _line(self, one: Installed) -> str:
        if one.origin and one.origin.requirement:
            return one.origin.requirement
        if not one.version:
            return one.name
        version, _, build = one.version.partition("+")
        if build:
            self._notes.append(f"{one.name} {one.version} is asked for as {version}")
        return f"{one.name}=={version}"

    def _all_notes(self) -> tuple[str, ...]:
        notes = list(self._notes)
        if self._installed:
            notes.insert(0, f"no file says what packages are needed: {self._found()}")
        missing = {n: place for n, place in self._missing.items() if n not in self._installed}
        if missing:
            found = ", ".join(f"{name} ({place})" for name, place in missing.items())
            by_name = "imported, but of no package that is known, so left out"
            missed = "imported under a condition and not installed, so left out"
            notes.append(f"{missed if self._environment else by_name}: {found}")
        return tuple(dict.fromkeys(notes))

    def _found(self) -> str:
        """The packages, and where their versions are from."""
        found = [one for _, one in sorted(self._installed.items())]
        if self._environment is None:
            names = ", ".join(one.name for one in found)
            return f"{names}, by the names of imports, at the versions of the record's day"
        names = ", ".join(f"{one.name} {one.version}" for one in found)
        return f"{names} as installed in {self._label}"


def _is_standard(name: str) -> bool:
    return name in sys.stdlib_module_names or name in _ONCE_STANDARD
