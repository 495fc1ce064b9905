"""The distribution `tfx-mnist`: its packages, its dependencies per Python version, its command.

    pip install --constraint constraints/tfx-1.21.txt --editable '.[dev]'

TFX comes in two generations: 1.16 is the last one for Python 3.10, and 1.21 the only one for
Python 3.11 and later. `python_version` markers choose between them, so one file serves both.
`make setup` does the line above with the right Python and the right constraints.
"""

from pathlib import Path

from setuptools import find_packages, setup

# TFX's own Kubeflow extra is empty on Python 3.12 and later. protobuf, which TFX pins, chooses the
# generation: kfp 2.5 is the last one for protobuf 3.
_KUBEFLOW = [
    "kfp==2.5.*; python_version < '3.11'",
    "kfp==2.17.*; python_version >= '3.11'",
    "kfp-pipeline-spec",
    "kfp-server-api",
    "urllib3",
    # kfp.local runs containers with it.
    "docker",
]

setup(
    name="tfx-mnist",
    version="0.1.0",
    description="From an image data set to a released classifier: a TFX pipeline with a gate.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The authors of tfx-mnist",
    license_expression="Apache-2.0",
    keywords="tfx tensorflow keras mnist mlops model-validation release-gate kubeflow",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["pipeline*", "components*", "trainer*"]),
    package_data={
        "pipeline": ["py.typed"],
        "pipeline.report": ["*.css", "*.html"],
        "components": ["py.typed"],
        "trainer": ["py.typed"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=[
        "tfx==1.16.*; python_version < '3.11'",
        "tfx==1.21.*; python_version >= '3.11'",
        "absl-py",
        "apache-beam",
        "click>=8.1,<9",
        "cryptography",
        # tfx_bsl 1.16 imports dill, which Beam no longer installs.
        "dill; python_version < '3.11'",
        "grpcio",
        "h5py",
        # tensorflow-datasets imports it, and asks for it on Python 3.8 only.
        "importlib-resources",
        "jinja2",
        "keras",
        "keras-tuner[bayesian]",
        "matplotlib",
        "ml-metadata",
        "mlxtend",
        "numpy",
        "packaging>=24.2",
        "pillow",
        "protobuf",
        "pydantic>=2,<3",
        "pyarrow",
        # TFX 1.16 has pyarrow 10, which would run code that a Parquet file holds.
        "pyarrow-hotfix; python_version < '3.11'",
        "pyyaml",
        "requests",
        "rich",
        "scipy",
        # TensorBoard 2.16 imports pkg_resources, which setuptools 82 no longer has.
        "setuptools<82; python_version < '3.11'",
        # TensorFlow 2.21 no longer installs it, and its Keras callback needs it.
        "tensorboard",
        "tensorflow",
        "tensorflow-datasets",
        "tensorflow-metadata",
        "tensorflow-model-analysis",
        "tensorflow-serving-api",
        "tensorflow-transform",
        "tfx-bsl",
    ],
    extras_require={
        "kubeflow": _KUBEFLOW,
        "dev": [
            *_KUBEFLOW,
            # Holds the official schemas of CycloneDX.
            "cyclonedx-python-lib[json-validation]",
            "hypothesis",
            "import-linter",
            "jsonschema",
            "kfp-kubernetes",
            # Checks that our signatures are in its form. It needs a newer protobuf than TFX 1.16
            # has, and pyopenssl, which it does not ask for.
            "model-signing>=1.1; python_version >= '3.11'",
            "pyopenssl; python_version >= '3.11'",
            # From 1.8 on it needs a newer Kubernetes client than kfp 2.5 takes.
            "kubeflow-training<1.8",
            "kubeflow-trainer-api",
            # Its server stands in for S3, and asks for Flask with much else only.
            "moto[s3]",
            "flask",
            "flask-cors",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "statsmodels",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["tfx-mnist=pipeline.cli.__main__:start"]},
)
