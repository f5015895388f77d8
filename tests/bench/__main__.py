"""`make bench`: all figures, as tables. `python -m tests.bench`."""

from tests.bench import bench_operator, bench_serving

if __name__ == "__main__":
    bench_operator.report()
    bench_serving.main()
