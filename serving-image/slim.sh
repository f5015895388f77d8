#!/bin/sh
# usage: slim.sh VENV PACKAGE PYCACHE
# Puts our package into the environment, leaves out of it what a server never loads, and compiles into PYCACHE exactly the
# modules that server and fetcher import: without bytecode the imports take twice as long (0.46 s for 0.22 s), and all of it
# would be tens of megabytes.
set -eu
venv=$1 package=$2 pycache=$3
site=$(echo "$venv"/lib/python3*/site-packages)

mv "$package" "$site/"
rm -rf "$site"/pip "$site"/pip-* "$venv"/bin/pip* "$venv"/bin/[Aa]ctivate* "$venv"/share
cd "$site"
# onnxruntime's command line tools and its collection of model conversions.
rm -rf onnxruntime/tools onnxruntime/transformers onnxruntime/datasets onnxruntime/backend onnxruntime/ThirdPartyNotices.txt
# Compilers' input: headers, sources of extension modules, types.
rm -rf numpy/f2py numpy/_core/include numpy/_core/lib numpy/_pyinstaller numpy/random/lib
find . -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' -o -name '*.a' \) -delete
rm -f "$venv"/bin/f2py "$venv"/bin/numpy-config "$venv"/bin/onnxruntime_test

cd /
PYTHONPYCACHEPREFIX=$pycache "$venv/bin/python" -c '
import podium_serving.__main__, podium_serving.json_process, podium_serving.model, podium_serving.server
import podium_serving.fetch.__main__, podium_serving.fetch.s3, podium_serving.fetch.https, podium_serving.fetch.pvc
import uvloop
'
