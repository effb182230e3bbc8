"""Which package of an index a module comes from, where nothing installed can tell."""

from __future__ import annotations

from reprorun.formats.conda_names import SAME
from reprorun.formats.line import normalized

# The module's name and the package's, where they differ. A dotted name stands for what is below.
_NAMES = """
absl absl-py
attr attrs
Bio biopython
Box2D box2d-py
bs4 beautifulsoup4
community python-louvain
Crypto pycryptodome
cv2 opencv-python
dateutil python-dateutil
docx python-docx
dotenv python-dotenv
faiss faiss-cpu
fitz pymupdf
git gitpython
gi pygobject
google.auth google-auth
google.cloud.bigquery google-cloud-bigquery
google.cloud.storage google-cloud-storage
google.protobuf protobuf
googleapiclient google-api-python-client
haiku dm-haiku
hydra hydra-core
igraph python-igraph
imblearn imbalanced-learn
jwt pyjwt
Levenshtein python-levenshtein
magic python-magic
mpl_toolkits matplotlib
MySQLdb mysqlclient
nacl pynacl
OpenGL pyopengl
OpenSSL pyopenssl
osgeo gdal
ot pot
PIL pillow
pkg_resources setuptools
psycopg2 psycopg2-binary
pybullet_data pybullet
pybullet_envs pybullet
pybullet_utils pybullet
pylab matplotlib
pythonjsonlogger python-json-logger
pywt pywavelets
reverb dm-reverb
ruamel.yaml ruamel-yaml
serial pyserial
skimage scikit-image
sklearn scikit-learn
skopt scikit-optimize
skvideo sk-video
slugify python-slugify
sonnet dm-sonnet
tensorboardX tensorboardx
tree dm-tree
umap umap-learn
usb pyusb
yaml pyyaml
zmq pyzmq
"""
_PACKAGES = {line.split()[0]: line.split()[1] for line in _NAMES.strip().splitlines()}

# Namespaces that many packages share: a module in them is of the package listed above, or unknown.
_SHARED = frozenset(("google", "ruamel"))

# Well known, the package named as the module is, and not in conda_names.
_ALSO = """
akro box2d-py dm-control dm-env dm-haiku dm-sonnet dm-tree dowel garage jaxlib lz4 mpi4py
mujoco mujoco-py opencv-python optax pybullet pygame pyglet setuptools stable-baselines
stable-baselines3 tf-agents torch torchaudio torchtext torchvision
"""
_KNOWN = SAME | frozenset(_ALSO.split()) | frozenset(_PACKAGES.values())


def package_of(module: str) -> str | None:
    """The package that a module comes from: by the table, else the one of its top-level name.

    Args:
        module: with dots.

    Returns:
        The normalized name; None in a namespace that many packages share, where none is known.
    """
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = _PACKAGES.get(".".join(parts[:length]))
        if name is not None:
            return name
    return None if parts[0] in _SHARED else normalized(parts[0])


def is_known(package: str) -> bool:
    """Whether a package is well known, so that a module's name stands for no other."""
    return package in _KNOWN
