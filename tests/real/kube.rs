//! The kube source, the chart and the whole path against a real control plane: etcd, API server, controllers, scheduler;
//! the machines are played by kwok, whose pulled plug looks to the cluster like any other.

mod chart;
mod cluster;
mod crowd;
mod field;
mod gate;
mod installed;
mod nodes;
mod pods;
mod server;
mod story;
