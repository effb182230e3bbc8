"""The outputs of the logging package dowel, where that is installed; nothing otherwise."""

from __future__ import annotations

import gc
import os
import warnings
from contextlib import contextmanager
from typing import Any, Iterator


@contextmanager
def logging_to(
    log_dir: str,
    name: str,
    *,
    text_file: str = "debug.log",
    table_file: str = "progress.csv",
    x_axis: str | None = None,
) -> Iterator[None]:
    """Sends what dowel logs within the block to a log directory, TensorBoard files and stdout.

    Args:
        log_dir: An existing directory.
        name: The experiment's name, put in front of each line.
        text_file: The file for text, relative to the log directory.
        table_file: The file for tabular data, relative to the log directory.
        x_axis: The key of TensorBoard's x axis.
    """
    dowel = _import_dowel()
    if dowel is None:
        yield
        return
    outputs = [
        dowel.TextOutput(os.path.join(log_dir, text_file)),
        dowel.CsvOutput(os.path.join(log_dir, table_file)),
        dowel.TensorBoardOutput(log_dir, x_axis=x_axis),
        dowel.StdOutput(),
    ]
    logger = dowel.logger
    logger.push_prefix(f"[{name}] ")
    try:
        for output in outputs:
            logger.add_output(output)
        logger.log(f"Logging to {log_dir}")
        yield
    finally:
        # Also when the experiment fails: the next one must not write into this one's files.
        logger.remove_all()
        logger.pop_prefix()
        for output in outputs:
            output.close()
        gc.collect()  # dowel's table holds on to its outputs in cycles


def _import_dowel() -> Any:
    try:
        import dowel  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        if error.name == "dowel":
            return None
        _warn_that_broken(error)
    except Exception as error:  # its dependencies may raise anything on a newer Python
        _warn_that_broken(error)
    else:
        return dowel
    return None


def _warn_that_broken(error: Exception) -> None:
    warnings.warn(
        f"dowel is installed but can't be imported ({error}); debug.log, progress.csv and the "
        "TensorBoard files are not written",
        stacklevel=2,
    )
