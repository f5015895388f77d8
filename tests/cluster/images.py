"""Container images without registry or Docker daemon: buildah builds the ordinary Dockerfiles; archives are cached."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import HERE, IMAGE_PACKAGES, apt
from tests.cluster.cache import REPOSITORY, cache_folder, cached, digest, lock, log_file
from tests.cluster.progress import ClusterError, run, say, step

# What the Dockerfiles call their base, and the suite of Debian that a base of that name is made of here.
BASE = "localhost/python:3.13-slim-trixie"
SUITE = "trixie"
REPOSITORY_PREFIX = "localhost/podium"
TAG = "dev"


@dataclass(frozen=True)
class Image:
    """How one image is built: `inputs` are the files whose change makes it another image."""

    name: str
    dockerfile: Path
    context: Path
    inputs: tuple[Path, ...]
    usually: str
    on_base: bool = True
    prepare: Callable[[Path], None] | None = None

    @property
    def reference(self) -> str:
        """The name under which pods ask for it."""
        return f"{REPOSITORY_PREFIX}/{self.name}:{TAG}"

    def key(self) -> str:
        """The hash of all that the image is made of, its base included."""
        return digest(self.inputs, self.reference, *([_base_key()] if self.on_base else []))


@dataclass(frozen=True)
class Archive:
    """A built image: `path` is a docker-archive that `ctr images import` and `docker load` read."""

    image: Image
    key: str
    path: Path


def _compile_pause(context: Path) -> None:
    run(["gcc", "-Os", "-static", "-s", "-o", context / "pause", context / "pause.c"])


def _project(*paths: str) -> tuple[Path, ...]:
    return tuple(REPOSITORY / path for path in paths)


_PACKAGE = ("pyproject.toml", "README.md", "LICENSE", "operator/src")
_PAUSE = HERE / "dockerfiles" / "pause"
_TORCHSERVE = REPOSITORY / "serving-image" / "torchserve"
IMAGES = {
    image.name: image
    for image in (
        Image("pause", _PAUSE / "Dockerfile", _PAUSE, (_PAUSE / "Dockerfile", _PAUSE / "pause.c"), "2 s", False,
              _compile_pause),
        Image("operator", REPOSITORY / "operator" / "Dockerfile", REPOSITORY,
              _project("operator/Dockerfile", "requirements/operator.txt", "requirements/dev.txt", *_PACKAGE), "40 s"),
        Image("serving", REPOSITORY / "serving-image" / "Dockerfile", REPOSITORY,
              _project("serving-image/Dockerfile", "serving-image/slim.sh", "serving-image/locale.sh",
                       "serving-image/src", "requirements/serving.txt"), "40 s"),
        Image("router", REPOSITORY / "router-image" / "Dockerfile", REPOSITORY,
              _project("router-image/Dockerfile", "requirements/router.txt", "operator/src/podium/__init__.py",
                       "operator/src/podium/router"), "20 s"),
        Image("torchserve", _TORCHSERVE / "Dockerfile", _TORCHSERVE, (_TORCHSERVE,), "3 min"),
    )
}  # fmt: skip
_GRPC = REPOSITORY / "tests" / "models" / "grpc_server"
ON_DEMAND = {
    "grpc": Image("grpc", _GRPC / "Dockerfile", REPOSITORY,
                  (_GRPC / "Dockerfile", _GRPC / "server.py", *_project("requirements/dev.txt")), "20 s"),
}  # fmt: skip
"""Images that some tests need, and Podium does not: built where they are named."""


def build(names: Sequence[str] = ()) -> list[Archive]:
    """Builds the named images (by default all that Podium runs) that are not in the cache as they are now.

    An image whose Dockerfile does not exist is left out, with a line that says so.
    """
    archives = []
    for image in named(names or list(IMAGES)):
        if image.dockerfile.exists():
            archives.append(_build(image))
        else:
            say(f"{image.reference}: left out, {image.dockerfile} does not exist")
    return archives


def named(names: Sequence[str]) -> list[Image]:
    """The images of these names; ClusterError if there is none of a name."""
    known = IMAGES | ON_DEMAND
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ClusterError(f"no image is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


class _ChangedMeanwhile(Exception):
    """The files changed while the image was built: it is neither what they were nor what they are."""


def _build(image: Image) -> Archive:
    while True:
        try:
            return _build_as_it_is(image)
        except _ChangedMeanwhile:
            say(f"{image.reference}: its sources changed meanwhile, once more")


def _build_as_it_is(image: Image) -> Archive:
    key = image.key()

    def make(folder: Path) -> None:
        apt(IMAGE_PACKAGES)
        log = log_file(f"image-{image.name}")
        with step(f"Building {image.reference}", image.usually, log), lock("buildah"):
            if image.on_base:
                _base()
            context = image.context
            if image.prepare:
                # What is compiled goes into a copy: the work tree stays as it is.
                context = folder / "context"
                shutil.copytree(image.context, context)
                image.prepare(context)
            arguments = ["--build-arg", f"BASE={BASE}"] if image.on_base else []
            _buildah(["bud", "--layers", "--isolation", "chroot", "--network", "host", "--pull-never", *_lent(),
                      *arguments, "--tag", image.reference, "--file", image.dockerfile, context], log)  # fmt: skip
            if image.key() != key:
                raise _ChangedMeanwhile
            target = folder / f"{image.name}.tar"
            _buildah(["push", "--quiet", image.reference, f"docker-archive:{target}:{image.reference}"], log)
            if image.prepare:
                shutil.rmtree(context)

    return Archive(image, key, cached(f"image-{image.name}", key, make) / f"{image.name}.tar")


def _lent() -> list[str]:
    """The host's pip settings and certificates, lent to RUN steps as read-only volumes: they stay out of the images."""
    shared = [Path("/etc/pip.conf"), Path("/etc/ssl/certs/ca-certificates.crt")]
    return [word for path in shared if path.exists() for word in ("--volume", f"{path}:{path}:ro")]


def _buildah(arguments: Sequence[str | Path], log: Path | None = None) -> str:
    store = cache_folder() / "buildah"
    return run(["nice", "buildah", "--root", store / "store", "--runroot", store / "run", "--storage-driver", "overlay",
                *arguments], log)  # fmt: skip


_TRIM = (
    "var/lib/apt/lists/*", "var/cache/apt/*", "var/log/*", "var/cache/ldconfig/aux-cache",
    # minbase copies these two from the host.
    "etc/resolv.conf", "etc/hostname",
)  # fmt: skip
_UNWANTED_DOCUMENTS = ("man", "info", "locale", "lintian", "doc")
_BASE_PACKAGES = "usr-is-merged,python3-minimal,python3-venv,ca-certificates"


def _base_key() -> str:
    return digest([HERE / "dockerfiles" / "base"], BASE, SUITE, _BASE_PACKAGES, *_TRIM)


def _base() -> None:
    """Makes the base of Debian's packages, unless buildah has it. To be called with the lock "buildah" held."""
    label = _base_key()
    have = _buildah(["images", "--quiet", "--filter", f"label=podium.base={label}"])
    if have.strip():
        return
    log = log_file("image-base")
    building = cache_folder() / "base.building"
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(HERE / "dockerfiles" / "base", building)
    options = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _UNWANTED_DOCUMENTS]
    with step(f"Making the base {BASE} with mmdebstrap", "40 s", log):
        run(["nice", "mmdebstrap", "--quiet", "--variant=minbase", f"--include={_BASE_PACKAGES}",
             "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--aptopt=APT::Install-Recommends \"false\"",
             *options, "--dpkgopt=path-include=/usr/share/doc/*/copyright",
             "--customize-hook=cd \"$1\" && rm -rf " + " ".join(_TRIM), SUITE,
             building / "rootfs.tar"], log)  # fmt: skip
        _buildah(["bud", "--isolation", "chroot", "--pull-never", "--label", f"podium.base={label}", "--tag", BASE,
                  building], log)  # fmt: skip
    shutil.rmtree(building)
