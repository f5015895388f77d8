#!/bin/sh
# usage: locale.sh FOLDER
# Makes the locale en_US.UTF-8 in FOLDER, for LOCPATH: onnxruntime's text operators (StringNormalizer, of which skl2onnx
# makes TfidfVectorizer and CountVectorizer) ask for it by that name, and slim images have none but C.UTF-8. What they
# take from it, the classes and cases of Unicode's characters, is the same in both.
set -eu
test -d /usr/lib/locale/C.utf8
mkdir -p "$1"
ln -s /usr/lib/locale/C.utf8 "$1/en_US.UTF-8"
