"""Modules that the cluster's configuration has every worker import first."""

import sys

import ray


@ray.remote(num_cpus=0)
def imported(*names):
    return [name in sys.modules for name in names]


def test_workers_of_every_node_import_what_the_cluster_says(cluster):
    names = ["html.parser", "there_is_no_such_module", "wsgiref.util"]
    cluster({"_system_config": {"preload_python_modules": names[:2]}}, {"num_cpus": 1, "resources": {"w": 1}})
    for resources in ({}, {"w": 1}):
        found = ray.get(imported.options(resources=resources).remote(*names), timeout=60)
        assert found == [True, False, False]
