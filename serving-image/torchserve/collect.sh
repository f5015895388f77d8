#!/bin/sh
# Collects what PyTorch and TorchServe load at run time into a folder: their Python packages, and the shared libraries
# that the extension modules among them need (all that ldd finds). Debian's packages depend on much more than that.
#
# usage: collect.sh FOLDER FILE    (FILE: names of the libraries that the image has already, one a line)
set -eu
out=$1
base=$2
packages=/usr/lib/python3/dist-packages
libraries=$(dirname "$(ls -d /usr/lib/*-linux-gnu/libc.so.6)")

mkdir -p "$out$packages" "$out/opt" "$out$libraries"
cp -a /opt/venv "$out/opt/"
for name in torch torchgen functorch numpy sympy mpmath yaml psutil typing_extensions.py filelock jinja2 markupsafe fsspec \
            networkx requests urllib3 idna chardet charset_normalizer certifi six.py pkg_resources; do
    if [ -e "$packages/$name" ]; then cp -a "$packages/$name" "$out$packages/"; fi
done
# importlib.metadata is asked for the versions of these.
for name in numpy torch psutil pyyaml PyYAML sympy; do
    for about in "$packages/$name"-*info; do
        if [ -e "$about" ]; then cp -a "$about" "$out$packages/"; fi
    done
done

# Headers, tests, build tools and compiled files are of no use at run time.
torch=$out$packages/torch
if [ -d "$torch/bin" ]; then find "$torch/bin" -type f ! -name torch_shm_manager -delete; fi
rm -rf "$torch/include" "$torch/share" "$torch/test" "$torch/testing/_internal" "$out$packages/sympy/benchmarks"
rm -rf "$out"/opt/venv/lib/python3*/site-packages/pip "$out"/opt/venv/lib/python3*/site-packages/pip-* "$out"/opt/venv/bin/pip*
find "$out" -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +

# Wanted are the libraries that are linked against, by their sonames, and those that torch/lib has links to.
{
    { find "$out" -type f -name '*.so*'; ls "$packages"/torch/lib/*.so*; } | while read -r object; do
        ldd "$object" 2>/dev/null | awk '/=> \// { print $3 }'
    done
    for link in "$packages"/torch/lib/*.so*; do if [ -L "$link" ]; then readlink "$link"; fi; done
} | xargs -n 1 basename | sort -u > /tmp/wanted
grep -vxF -f "$base" /tmp/wanted | while read -r name; do
    found=$(ldconfig -p | awk -v name="$name" '$1 == name { print $NF; exit }')
    if [ -z "$found" ] && [ -e "$libraries/$name" ]; then found=$libraries/$name; fi
    if [ -n "$found" ]; then cp -L "$found" "$out$libraries/$name"; fi
done
du -sm "$out"
