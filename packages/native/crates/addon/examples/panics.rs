//! An addon of its own, for src/panics.process.test.ts, in which the engine fails as it must never: functions of the real one are declared in
//! the same way, but none of them panics when it is asked to.

use napi_derive::napi;
use tensorloom_engine::threads::{for_ranges, map_ranges, set_threads};

/// Starts the engine on so many threads.
#[napi(catch_unwind)]
pub fn start(threads: u32) -> napi::Result<()> {
    set_threads(threads as usize).map_err(napi::Error::from_reason)
}

/// Panics in one piece of work, on whichever thread has it.
#[napi(catch_unwind)]
pub fn fail(pieces: u32, culprit: u32) {
    for_ranges(pieces as usize, 1, |piece| assert!(!piece.contains(&(culprit as usize)), "piece {culprit} fails"));
}

/// The sum of the numbers below `count`, on all threads.
#[napi(catch_unwind)]
pub fn sum(count: u32) -> u32 {
    map_ranges(count as usize, 1, |piece| piece.sum::<usize>()).into_iter().sum::<usize>() as u32
}
