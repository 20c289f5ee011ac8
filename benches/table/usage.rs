//! What a process uses, as Linux counts it.

use std::fs;

/// Kernel ticks a second, as `/proc/PID/stat` counts them on Linux.
const TICKS: f64 = 100.0;

/// Resident memory in megabytes: now, and the most there ever was.
pub(super) fn resident(process: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let kilobytes = |field: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (kilobytes("VmRSS:") / 1024.0, kilobytes("VmHWM:") / 1024.0)
}

/// User and system time so far, in seconds.
pub(super) fn processor(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name before them is in brackets and may hold spaces.
    let after_name = stat.rsplit_once(')').unwrap().1;
    let field = |index: usize| after_name.split_whitespace().nth(index).unwrap().parse::<f64>().unwrap();
    (field(11) + field(12)) / TICKS
}
