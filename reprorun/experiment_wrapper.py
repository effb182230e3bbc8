"""The entry script of `run_experiment`: unpickles one call and runs it.

Run as `python -m reprorun.experiment_wrapper`, in the container or outside. This is the only place
where anything is unpickled.
"""

from __future__ import annotations

import argparse
import base64
import os
import pickle
import random
import sys
import time
from importlib import import_module
from typing import Any

from reprorun.experiment.encoder import dump_json
from reprorun.experiment.guest import current_guest
from reprorun.experiment.metadata import get_metadata
from reprorun.experiment.outputs import logging_to
from reprorun.experiment.template import SNAPSHOT_MODES, ExperimentContext

_FILE = "file:"
_BOOLS = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}
_PAYLOADS = ("args_data", "variant_data")


class PayloadError(Exception):
    """A payload can't be read; one line for the user."""


def main(argv: list[str] | None = None) -> None:
    """Runs the call that the command line holds.

    Args:
        argv: The arguments; None for those of the process.

    Raises:
        SystemExit: With code 2 for wrong usage, with 1 for a payload that can't be unpickled.

    Source:
        The options and how the call is made follow garage's documentation of `run_experiment` and
        its `experiment_wrapper`.
    """
    args = _parser().parse_args(argv)
    log_dir = _log_dir(args)
    try:
        variant = _unpickle("--variant_data", args.variant_data, log_dir)
        call = _unpickle("--args_data", args.args_data, log_dir)
    except PayloadError as error:
        print(f"reprorun: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    _write_parameters(args, variant, log_dir)
    if args.seed is not None:
        _seed(args.seed)
    context = ExperimentContext(
        snapshot_dir=log_dir, snapshot_mode=args.snapshot_mode, snapshot_gap=args.snapshot_gap
    )
    with logging_to(
        log_dir,
        args.exp_name,
        text_file=args.text_log_file,
        table_file=args.tabular_log_file,
        x_axis=args.tensorboard_step_key,
    ):
        call(context, variant, args.resume_from_dir, args.resume_from_epoch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reprorun.experiment_wrapper",
        description="Runs one call that run_experiment has pickled.",
    )
    add = parser.add_argument
    add("--exp_name", default=_default_name(), help="name of the experiment")
    add("--log_dir", help="log directory (default: data/EXP_NAME; in a container the record)")
    add("--snapshot_mode", default="last", choices=SNAPSHOT_MODES, help="snapshots to keep")
    add("--snapshot_gap", type=int, default=1, help="iterations between snapshots")
    add("--resume_from_dir", help="directory of the snapshot to go on from")
    add("--resume_from_epoch", help="iteration to go on from: first, last or a number")
    add("--tabular_log_file", default="progress.csv", help="file for tabular data")
    add("--text_log_file", default="debug.log", help="file for text")
    add("--tensorboard_step_key", help="key of TensorBoard's x axis")
    add("--params_log_file", default="params.json", help="file for these options")
    add("--variant_log_file", default="variant.json", help="file for the variant")
    add("--plot", type=_bool, default=False, help="accepted and recorded; plots nothing")
    add("--log_tabular_only", type=_bool, default=False, help="accepted and recorded")
    add("--seed", type=int, help="seed for random, numpy, torch and tensorflow")
    add("--args_data", required=True, help="the call: a pickle in base64, or file:NAME")
    add("--variant_data", help="the variant: a pickle in base64, or file:NAME")
    return parser


def _default_name() -> str:
    return time.strftime("experiment_%Y_%m_%d_%H_%M_%S_") + os.urandom(3).hex()


def _bool(text: str) -> bool:
    if text not in _BOOLS:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return _BOOLS[text]


def _log_dir(args: argparse.Namespace) -> str:
    """Makes the log directory and returns its absolute path."""
    guest = current_guest()
    if guest is not None:
        # The same command line serves inside and outside, where paths are different.
        log_dir = guest.log_dir
    else:
        log_dir = os.path.abspath(args.log_dir or os.path.join("data", args.exp_name))
    os.makedirs(log_dir, exist_ok=True)
    return log_dir


def _unpickle(option: str, payload: str | None, log_dir: str) -> Any:
    if payload is None:
        return None
    try:
        return pickle.loads(base64.b64decode(_text(payload, log_dir), validate=True))
    except Exception as error:  # unpickling runs code, which may raise anything
        reason = " ".join(str(error).split())
        raise PayloadError(
            f"{option} can't be unpickled: {type(error).__name__}: {reason}; "
            "it takes base64 of a pickle, and the modules that this refers to"
        ) from None


def _text(payload: str, log_dir: str) -> str:
    """Returns the base64 text; `file:NAME` stands for one too large for a command line."""
    if not payload.startswith(_FILE):
        return payload
    name = payload[len(_FILE) :]
    if os.path.basename(name) != name:
        raise ValueError(f"{name!r} is not the name of a file in the log directory")
    with open(os.path.join(log_dir, name), encoding="ascii") as file:
        return file.read().strip()


def _write_parameters(args: argparse.Namespace, variant: Any, log_dir: str) -> None:
    metadata_file = os.path.join(log_dir, "metadata.json")
    if not os.path.exists(metadata_file):
        dump_json(metadata_file, get_metadata()[1])
    options = {name: value for name, value in vars(args).items() if name not in _PAYLOADS}
    dump_json(os.path.join(log_dir, args.params_log_file), options)
    dump_json(os.path.join(log_dir, args.variant_log_file), {} if variant is None else variant)


def _seed(seed: int) -> None:
    """Seeds every generator of random numbers that the experiment may use."""
    random.seed(seed)
    try:
        numpy: Any = import_module("numpy")
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
    else:
        numpy.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(seed)


if __name__ == "__main__":
    main()
