"""The benchmarks can be started; what they measure is not tested."""

import importlib
import pkgutil

import benchmarks


def test_each_can_be_imported():
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    assert "page" in names
    for name in names:
        importlib.import_module(f"benchmarks.{name}")
