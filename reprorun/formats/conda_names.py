"""conda's names of packages: the same on the package index, another one there, or none needed."""

from __future__ import annotations

_SAME = """
absl-py accelerate aiohttp altair anndata astropy attrs av awkward beautifulsoup4 biopython
black bokeh boto3 bottleneck bqplot cartopy catboost cffi cftime click cloudpickle colorama
contourpy coverage cryptography cvxopt cvxpy cycler cython dask datasets decorator dill
distributed docopt einops fastapi fastparquet filelock fiona flake8 flask flax fonttools fsspec
gensim geopandas gpytorch gym gymnasium h5netcdf h5py hdbscan holoviews huggingface_hub
hydra-core hypothesis idna imageio imbalanced-learn ipdb ipykernel ipython ipywidgets isort jax
jinja2 joblib jsonschema jupyter jupyterlab keras kiwisolver librosa lifelines lightgbm
lightning llvmlite loguru lxml markdown markupsafe matplotlib mlflow mpmath multiprocess mypy
natsort nbconvert nbformat netcdf4 networkx nibabel nilearn nltk nose notebook numba numexpr
numpy numpydoc omegaconf openpyxl optuna opt_einsum orjson packaging pandas papermill patsy
pexpect pillow pingouin plotly plotnine polars pooch pre-commit protobuf psutil psycopg2 pyarrow
pybind11 pycocotools pydantic pydicom pygments pymc pymongo pyparsing pyproj pyro-ppl pytest
pytest-cov python-dateutil pytorch-lightning pytz pywavelets pyyaml ray regex requests rich
sacrebleu sacred safetensors scanpy scikit-bio scikit-image scikit-learn scipy seaborn
sentencepiece shap shapely simpleitk six sphinx spacy sqlalchemy statsmodels streamlit sympy
tabulate tenacity tensorboard tensorboardx tensorflow tensorflow-probability termcolor
threadpoolctl tifffile timm tokenizers toml toolz torchmetrics tornado tqdm traitlets
transformers typer typing-extensions tzdata umap-learn unidecode urllib3 wandb wrapt xarray
xgboost xlrd xlsxwriter zarr zstandard yarl multidict certifi charset-normalizer pycparser
frozenlist aiosignal async-timeout importlib-metadata zipp pluggy iniconfig
"""
SAME = frozenset(_SAME.split())
"""The same project under the same name."""

RENAMED = {
    "atk-cffi": "cffi",
    "bs4": "beautifulsoup4",
    "dask-core": "dask",
    "fastai": "fastai",
    "faiss-cpu": "faiss-cpu",
    "graphviz-python": "graphviz",
    "importlib_metadata": "importlib-metadata",
    "ipython_genutils": "ipython-genutils",
    "jupyter_client": "jupyter-client",
    "jupyter_core": "jupyter-core",
    "keras-base": "keras",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python",
    "pandas-base": "pandas",
    "prompt_toolkit": "prompt-toolkit",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "pymc3": "pymc3",
    "pyqt": "PyQt5",
    "pysocks": "PySocks",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "python-igraph": "igraph",
    "python-tzdata": "tzdata",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ruamel.yaml": "ruamel.yaml",
    "ruamel_yaml": "ruamel.yaml",
    "scikit-learn-intelex": "scikit-learn-intelex",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "torchaudio": "torchaudio",
    "torchvision": "torchvision",
    "typing_extensions": "typing-extensions",
    "zeromq-python": "pyzmq",
    "pyzmq": "pyzmq",
}
"""The same project under another name, or one whose builds for conda are known to differ."""

_PLUMBING = """
_libgcc_mutex _openmp_mutex _x86_64-microarch-level alsa-lib blas blosc brotli bzip2 c-ares
ca-certificates cairo cpuonly cuda-cudart cuda-cupti cuda-libraries cuda-nvrtc cuda-nvtx
cuda-runtime cudatoolkit cudnn dbus expat ffmpeg fontconfig freetype fribidi gettext giflib glib
gmp gnutls graphite2 gst-plugins-base gstreamer harfbuzz hdf5 icu intel-openmp jpeg keyutils
krb5 lame lcms2 ld_impl_linux-64 lerc libaec libblas libbrotlicommon libbrotlidec libbrotlienc
libcblas libcublas libcufft libcufile libcurand libcurl libcusolver libcusparse libdeflate
libedit libev libexpat libffi libgcc libgcc-ng libgfortran libgfortran-ng libgfortran5 libglib
libgomp libiconv libidn2 libjpeg-turbo liblapack libllvm14 libnghttp2 libnpp libnsl libnvjpeg
libopenblas libpng libpq libprotobuf libsodium libsqlite libssh2 libstdcxx libstdcxx-ng libtasn1
libtiff libunistring libuuid libuv libvpx libwebp libwebp-base libxcb libxcrypt libxml2 libxslt
libzlib llvm-openmp lz4-c lzo mkl mkl-service mkl_fft mkl_random mpc mpfr mysql nccl ncurses
nettle ninja nomkl nspr nss numpy-base openblas openh264 openjpeg openssl pcre pcre2 pixman
pthread-stubs python_abi pytorch-cuda pytorch-mutex qt qt-main readline snappy sqlite tbb tk
tzcode unixodbc xorg-libxau xorg-libxdmcp xz yaml zeromq zlib zlib-ng zstd
"""
PLUMBING = frozenset(_PLUMBING.split())
"""Libraries that conda lists as packages and wheels hold within, and what chooses among builds."""
