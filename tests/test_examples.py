"""Every example goes through all of its lines with --dry-run, and leaves the pictures that its docstring names."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
OPTIONS = {
    "autoencoder": ["--data", "digits"],
    "conv_autoencoder": ["--data", "digits", "--codes", "4", "8"],
    "vae": ["--data", "digits", "--latent", "2"],
    "conv_vae": ["--data", "digits"],
    "gan": ["--data", "digits", "--k", "2"],
    "dcgan": ["--data", "digits"],
    "gaussian_vae": [],
    "flow_pieces": [],
    "realnvp": [],
    "image_realnvp": ["--data", "digits"],
    "upsampling": ["--data", "digits"],
    "demo": [],
    "from_pytorch": [],
    "backprop_by_hand": [],
    "transposed_convolution": [],
    "write_your_own_op": [],
}


def run(name, folder, *options):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--dry-run", "--device", "cpu", "--out", str(folder)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", OPTIONS)
def test_example(name, tmp_path):
    if name == "from_pytorch":
        pytest.importorskip("torch")  # without it there is nothing to compare: tests/test_interchange.py
    output = run(name, tmp_path, *OPTIONS[name])
    assert output.strip()
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8")))
    for picture in re.findall(r"\w+\.(?:png|gif)", text):
        assert (tmp_path / name / picture).stat().st_size > 1000
    pictures = list((tmp_path / name).glob("*.png"))
    assert pictures and {p.name for p in pictures} == set(re.findall(r"\w+\.png", text)) or name == "demo"
