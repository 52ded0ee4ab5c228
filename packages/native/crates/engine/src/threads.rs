//! Threads of the engine: a rayon pool of which the calling thread is a member, so that starting work costs no switch.
//!
//! Work is cut into pieces whose bounds depend on the amount of work only. A kernel that sums within a piece, and joins
//! pieces in order, therefore gives the same bits for every number of threads.

use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

thread_local! {
    static POOL: RefCell<Option<Arc<rayon::ThreadPool>>> = const { RefCell::new(None) };
}

/// Gives the calling thread a pool of `threads` (itself included). Only the first call of a thread has an effect, as a
/// thread belongs to one pool for ever.
///
/// # Errors
/// If the pool cannot be made, or the thread has one of another size.
pub fn set_threads(threads: usize) -> Result<(), String> {
    POOL.with(|pool| {
        let mut pool = pool.borrow_mut();
        if let Some(pool) = pool.as_ref() {
            if pool.current_num_threads() == threads {
                return Ok(());
            }
            return Err(format!(
                "The engine already runs on {} threads here; it cannot change to {threads}.",
                pool.current_num_threads()
            ));
        }
        let made = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .use_current_thread()
            .thread_name(|index| format!("tensorloom-{index}"))
            .build()
            .map_err(|error| format!("No pool of {threads} threads could be made: {error}"))?;
        *pool = Some(Arc::new(made));
        Ok(())
    })
}

/// Threads that work is spread over.
pub fn thread_count() -> usize {
    POOL.with(|pool| pool.borrow().as_ref().map_or(1, |pool| pool.current_num_threads()))
}

/// Calls `work` with `0..grain`, `grain..2 * grain` and so on up to `count`, on all threads.
pub fn for_ranges(count: usize, grain: usize, work: impl Fn(Range<usize>) + Sync) {
    let grain = grain.max(1);
    let range = |piece: usize| piece * grain..((piece + 1) * grain).min(count);
    let pieces = count.div_ceil(grain);
    if pieces <= 1 || thread_count() == 1 {
        (0..pieces).for_each(|piece| work(range(piece)));
    } else {
        (0..pieces).into_par_iter().for_each(|piece| work(range(piece)));
    }
}

/// As [`for_ranges`], with the results in the order of the pieces.
pub fn map_ranges<T: Send>(count: usize, grain: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let grain = grain.max(1);
    let range = |piece: usize| piece * grain..((piece + 1) * grain).min(count);
    let pieces = count.div_ceil(grain);
    if pieces <= 1 || thread_count() == 1 {
        (0..pieces).map(|piece| work(range(piece))).collect()
    } else {
        (0..pieces).into_par_iter().map(|piece| work(range(piece))).collect()
    }
}

/// A pointer that several threads write through, each at places of its own.
#[derive(Clone, Copy)]
pub struct SharedMut<T>(*mut T, usize);

// SAFETY: users promise in `SharedMut::range` to take disjoint ranges.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    /// Of a slice, which must outlive it.
    pub fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr(), slice.len())
    }

    /// # Safety
    /// Ranges in use at the same time must not overlap, and the slice must still be there.
    ///
    /// # Panics
    /// If the range is not within the slice.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.1, "{range:?} of {}", self.1);
        // SAFETY: in range; disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.end - range.start) }
    }
}
