"""Exercises the guest side end to end, with the standard library only.

For interpreters that the test suite does not run on, such as an old one in a container:

    PYTHONPATH=DIRECTORY_OF_REPRORUN python tests/guest_selftest.py

Prints one line and exits with 0, or fails with 1 at the first thing that is not as it should be.
Git may be missing; the listing then does without.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import traceback
import warnings

import reprorun.experiment as experiment
from reprorun.experiment import archive, repository, supervise

PACKAGE = os.path.dirname(os.path.abspath(experiment.__file__))
PYTHON_PATH = os.pathsep.join([os.path.dirname(os.path.dirname(PACKAGE)), *sys.path])
SUPERVISE = [sys.executable, "-I", "-S", supervise.__file__]

MODULE = """
import json
from reprorun.experiment import wrap_experiment

@wrap_experiment(name_parameters='passed')
def train(ctxt, seed, lr=0.5):
    with open(ctxt.snapshot_dir + '/result.json', 'w') as file:
        json.dump([seed, lr], file)
    return ctxt.snapshot_dir

def call(context, variant, resume_from_dir, resume_from_epoch):
    with open(context.snapshot_dir + '/called.json', 'w') as file:
        json.dump([variant, resume_from_dir, resume_from_epoch], file)
"""
LAUNCHER = "import my_code\nprint(my_code.train(seed=1))\n"


def main() -> None:
    """Runs all steps, each in an empty directory."""
    warnings.simplefilter("error")
    for name in [*os.environ]:
        if name.startswith(("GIT_", "REPRORUN_")):
            del os.environ[name]
    for step in (
        check_encoder,
        check_command,
        check_listing_and_archive,
        check_outside,
        check_in_container,
        check_pickling,
        check_wrapper,
        check_supervise,
    ):
        place = os.path.realpath(tempfile.mkdtemp())
        try:
            step(place)
        finally:
            shutil.rmtree(place)
    version = ".".join(map(str, sys.version_info[:2]))
    print(f"guest self-test passed on Python {version}")


def check_encoder(place: str) -> None:
    path = os.path.join(place, "new", "x.json")
    data: dict = {"set": {2, 1}, "type": int, "function": main, 1: (1, b"x")}
    data["self"] = data
    experiment.dump_json(path, data)
    found = read(path)
    assert isinstance(found, dict)
    assert found.pop("self").startswith("circular {")
    expect(
        found,
        {
            "set": [1, 2],
            "type": {"$typename": "builtins.int"},
            "function": {"$function": "__main__.main"},
            "1": [1, "b'x'"],
        },
    )


def check_command(place: str) -> None:
    command = experiment.to_local_command({"a": "it's", "b": None, "c": {"_name": 1, "d": [2, 3]}})
    wanted = "python -m reprorun.experiment_wrapper  --a 'it'\"'\"'s'  --c 1  --c_d 2 3"
    expect(command, wanted)


def check_listing_and_archive(place: str) -> None:
    root = project(place)
    large = os.path.join(root, "large.bin")
    with open(large, "wb") as file:
        file.truncate(repository.LARGE_FILE)
    tree = repository.list_directory(root)
    expect(tree.files, ("my_code.py", "train.py"))
    expect([(out.path, out.size) for out in tree.left_out], [("large.bin", 8 * 2**20)])
    digests = {archive.write_archive(root, tree, os.path.join(place, n)) for n in ("a", "b")}
    expect(len(digests), 1)
    with tarfile.open(os.path.join(place, "a")) as tar:
        expect(tar.getnames(), ["my_code.py", "train.py"])
    os.unlink(large)
    if shutil.which("git"):
        check_git(root, place)


def check_git(root: str, place: str) -> None:
    git = ["git", "-C", root, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "train.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    expect(repository.find_root(os.path.join(root, "train.py")), root)
    expect(repository.describe(root).dirty, True)
    expect(repository.list_tree(root).files, ("my_code.py", "train.py"))
    experiment.make_launcher_archive(git_root_path=root, log_dir=place)
    log_dir = run_launcher(root)
    metadata = read(os.path.join(log_dir, "metadata.json"))
    assert isinstance(metadata, dict)
    assert metadata["githash"].endswith("-dirty"), metadata
    subprocess.run([*git, "add", "my_code.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    expect(repository.describe(root).dirty, False)
    expect(repository.list_tree(root).files, ("my_code.py", "train.py"))


def check_outside(place: str) -> None:
    root = project(place)
    log_dir = run_launcher(root)
    expect(log_dir, os.path.join(root, "data/local/experiment/train_seed=1"))
    expect(run_launcher(root), log_dir + "_1")
    expect(read(log_dir + "/metadata.json"), {"launcher": os.path.join(root, "train.py")})
    expect(read(log_dir + "/variant.json"), {"seed": 1})
    expect(read(log_dir + "/result.json"), [1, 0.5])
    expect(repository.list_directory(root).files, ("my_code.py", "train.py"))


def check_in_container(place: str) -> None:
    root = project(place)
    record = os.path.join(place, "record")
    os.mkdir(record)
    with open(os.path.join(record, archive.ARCHIVE_NAME), "w") as file:
        file.write("the archive")
    told = guest(record, params={"lr": 0.25})
    log_dir = run_launcher(root, REPRORUN_GUEST=told)
    expect(log_dir, os.path.join(record, "train_seed=1_lr=0.25"))
    expect(read(log_dir + "/metadata.json"), {"githash": "abc", "launcher": "train.py"})
    expect(read(log_dir + "/variant.json"), {"seed": 1, "lr": 0.25})
    expect(read(log_dir + "/result.json"), [1, 0.25])
    with open(os.path.join(log_dir, archive.ARCHIVE_NAME)) as file:
        expect(file.read(), "the archive")
    done = start(root, "train.py", REPRORUN_GUEST=guest(record, params={"foo": 1}))
    expect(done.returncode, 2)
    expect(
        done.stderr,
        "reprorun: error: -P foo=...: train() takes no parameter 'foo'; it takes: seed, lr\n",
    )


def check_pickling(place: str) -> None:
    root = project(place)
    sys.path.insert(0, root)
    try:
        import my_code  # type: ignore[import-not-found]
    finally:
        sys.path.remove(root)
    expect(pickle.loads(pickle.dumps(my_code.train)) is my_code.train, True)


def check_wrapper(place: str) -> None:
    root = project(place)
    record = os.path.join(place, "record")
    call = base64.b64encode(b"cmy_code\ncall\n.").decode()
    variant = base64.b64encode(pickle.dumps({"a": 1})).decode()
    options = ["-m", "reprorun.experiment_wrapper", "--args_data", call, "--variant_data", variant]
    done = start(root, *options, "--seed", "3", REPRORUN_GUEST=guest(record))
    expect((done.returncode, done.stderr), (0, ""))
    expect(read(record + "/called.json"), [{"a": 1}, None, None])
    expect(read(record + "/variant.json"), {"a": 1})
    expect(read(record + "/metadata.json"), {"githash": "abc", "launcher": "train.py"})


def check_supervise(place: str) -> None:
    for command, code, name in (
        (["sh", "-c", "exit 3"], 3, None),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, "SIGTERM"),
        (["no-such-command"], 127, None),
    ):
        environment = {**os.environ, "REPRORUN_GUEST": guest(place)}
        done = subprocess.run(
            [*SUPERVISE, *command], env=environment, stderr=subprocess.PIPE, check=False
        )
        expect(done.returncode, code)
        report = read(os.path.join(place, ".reprorun-guest.json"))
        assert isinstance(report, dict)
        assert report["peak_memory"] > 2**20, report
        expect((report["exit_code"], report["signal"]), (code, name))
        expect(report["python"], sys.version.split()[0])


def project(place: str) -> str:
    root = os.path.join(place, "a project")
    os.mkdir(root)
    for name, text in (("my_code.py", MODULE), ("train.py", LAUNCHER)):
        with open(os.path.join(root, name), "w") as file:
            file.write(text)
    return root


def guest(log_dir: str, **more: object) -> str:
    metadata = {"githash": "abc", "launcher": "train.py"}
    return json.dumps({"log_dir": log_dir, "root": "/workspace", "metadata": metadata, **more})


def run_launcher(root: str, **environment: str) -> str:
    done = start(root, os.path.join(root, "train.py"), **environment)
    expect((done.returncode, done.stderr), (0, ""))
    return done.stdout.splitlines()[-1]


def start(root: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-W", "error", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def read(path: str) -> object:
    with open(path) as file:
        return json.load(file)


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


if __name__ == "__main__":
    try:
        main()
    except Exception:  # whatever it is, the answer is exit code 1
        traceback.print_exc()
        sys.exit(1)
