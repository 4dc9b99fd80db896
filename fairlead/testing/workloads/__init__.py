"""The built-in controllers of the simulated cluster: ReplicaSet, Deployment, Job, EndpointSlice, scheduler.

Each decides in a pure function (`replicaset.decide`, ...); `Workloads` runs them all over a Cluster. They are for
the simulated cluster only: a real one has its own.
"""
