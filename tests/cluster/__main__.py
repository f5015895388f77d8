"""The command line: python -m tests.cluster COMMAND."""

import argparse
import sys
from pathlib import Path

from tests.cluster import binaries, images, podium, typed
from tests.cluster.choice import choose
from tests.cluster.cluster import Cluster
from tests.cluster.progress import ClusterError, say
from tests.cluster.store import Store


def up(arguments: argparse.Namespace) -> None:
    """Starts the cluster with Podium on it, or brings one that runs up to date with the tree."""
    cluster = choose(arguments.folder)
    # Built first: nothing waits for a cluster that cannot be used yet.
    archives = cluster.build_images()
    cluster.up()
    cluster.load(archives)
    if not arguments.bare:
        podium.install_podium(cluster, archives)
        podium.make_demo_namespace(cluster)
    say("\nThe cluster is up. " + "\n".join(how_to_use(cluster)))
    if not arguments.bare:
        say(f"In the namespace {podium.DEMO_NAMESPACE} the Secret {podium.CREDENTIALS} lets pods read the store.")


def how_to_use(cluster: Cluster) -> list[str]:
    """Lines for a person; those that are indented can be typed as they stand."""
    store = cluster.store
    put = typed.module(
        "tests.cluster", "put", "model.onnx", f"s3://{store.bucket}/mine/model.onnx", folder=cluster.folder
    )
    return [
        "To use it, with the kubectl and the helm that came with it:",
        *(f"    {line}" for line in typed.exports(cluster.kubeconfig_file)),
        f"To put a model into its store, an S3 server at {store.endpoint} (credentials: {cluster.folder}/store.json):",
        f"    {put}",
    ]


def down(arguments: argparse.Namespace) -> None:
    """Ends the cluster and removes all it took of the host; of its folder log.before and lock stay."""
    choose(arguments.folder).down()


def status(arguments: argparse.Namespace) -> None:
    """Says what runs, and where."""
    print("\n".join(choose(arguments.folder).status()))


def build(arguments: argparse.Namespace) -> None:
    """Builds the container images that changed, and prints where their archives are."""
    for archive in images.build(arguments.names):
        print(f"{archive.image.reference:36} {archive.path.stat().st_size / 1e6:6.0f} MB  {archive.path}")


def load(arguments: argparse.Namespace) -> None:
    """Builds the container images that changed, and brings them to the cluster's node."""
    cluster = choose(arguments.folder)
    if not cluster.running():
        raise ClusterError(f"no cluster runs in {cluster.folder}; `{typed.start(cluster.folder)}` starts one")
    cluster.load(cluster.build_images(arguments.names))


def put(arguments: argparse.Namespace) -> None:
    """Puts a file or a folder into the cluster's model store."""
    for uri in Store.of(arguments.folder.resolve()).put(arguments.source, arguments.uri):
        print(uri)


def prepare(arguments: argparse.Namespace) -> None:
    """Builds every program and image that clusters and tests need, so that nothing waits for it later."""
    tools(arguments)
    arguments.names = [*images.IMAGES, *images.ON_DEMAND]
    build(arguments)
    for version in binaries.OTHER_APISERVERS:
        binaries.apiserver(version)
    binaries.apt(binaries.ARGOCD_PACKAGES | binaries.POLICY_PACKAGES)
    binaries.argocd()
    binaries.kube_router()
    binaries.flux()
    binaries.flux_crds()


def tools(arguments: argparse.Namespace) -> None:
    """Builds, unpacks or installs every program a cluster needs, and prints where it is."""
    for name, path in binaries.everything().items():
        print(f"{name:12} {path}")


COMMANDS = {
    "up": up,
    "down": down,
    "status": status,
    "images": build,
    "load": load,
    "put": put,
    "tools": tools,
    "prepare": prepare,
}


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=(command.__doc__ or "").strip())
        parsers[name].set_defaults(command=command)
        parsers[name].add_argument(
            "--folder", type=Path, default=typed.DEFAULT_FOLDER, help="the cluster's folder (.cluster)"
        )
    parsers["up"].add_argument("--bare", action="store_true", help="without Podium")
    for name in ("images", "load"):
        parsers[name].add_argument("names", nargs="*", metavar="IMAGE", help="only these (all, if none is named)")
    parsers["put"].add_argument("source", type=Path, metavar="FILE")
    parsers["put"].add_argument("uri", metavar="s3://BUCKET/KEY")
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
