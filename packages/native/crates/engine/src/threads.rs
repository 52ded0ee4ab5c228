//! Threads of the engine: a rayon pool of which the calling thread is a member, so that starting work costs no switch.
//!
//! Work is cut into pieces whose bounds depend on the amount of work only. A kernel that sums within a piece, and joins
//! pieces in order, therefore gives the same bits for every number of threads.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

thread_local! {
    static POOL: RefCell<Option<Arc<rayon::ThreadPool>>> = const { RefCell::new(None) };
    /// How many of the pool's threads are used; 1 in threads of pools themselves, so that work inside of work is not spread again.
    static ACTIVE: Cell<usize> = const { Cell::new(1) };
}

/// Spreads the calling thread's work over `threads` (itself included) from here on. The pool is made at the first call, as large as the
/// machine or as asked for, since a thread belongs to one pool for ever.
///
/// # Errors
/// If the pool cannot be made, or is smaller than what is asked for now.
pub fn set_threads(threads: usize) -> Result<(), String> {
    POOL.with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.is_none() {
            let size = threads.max(available_parallelism().map_or(1, usize::from));
            let made = rayon::ThreadPoolBuilder::new()
                .num_threads(size)
                .use_current_thread()
                .thread_name(|index| format!("tensorloom-{index}"))
                .build()
                .map_err(|error| format!("No pool of {size} threads could be made: {error}"))?;
            *pool = Some(Arc::new(made));
        }
        let size = pool.as_ref().map_or(1, |pool| pool.current_num_threads());
        if threads < 1 || threads > size {
            return Err(format!("The engine has {size} threads here; it cannot use {threads}."));
        }
        ACTIVE.set(threads);
        Ok(())
    })
}

/// Threads that work is spread over.
pub fn thread_count() -> usize {
    ACTIVE.get()
}

/// Calls `work` with `0..grain`, `grain..2 * grain` and so on up to `count`, on all threads.
pub fn for_ranges(count: usize, grain: usize, work: impl Fn(Range<usize>) + Sync) {
    let grain = grain.max(1);
    for_pieces(count.div_ceil(grain), |piece| work(piece * grain..((piece + 1) * grain).min(count)));
}

/// As [`for_ranges`], with the results in the order of the pieces.
pub fn map_ranges<T: Send>(count: usize, grain: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let grain = grain.max(1);
    let pieces = count.div_ceil(grain);
    let mut results: Vec<Option<T>> = (0..pieces).map(|_| None).collect();
    let slots = SharedMut::new(&mut results);
    for_pieces(pieces, |piece| {
        let result = work(piece * grain..((piece + 1) * grain).min(count));
        // SAFETY: each piece has a slot of its own, and `results` outlives the call.
        let slot = unsafe { slots.range(piece..piece + 1) };
        slot[0] = Some(result);
    });
    results.into_iter().flatten().collect()
}

/// Calls `work` with each number below `pieces`, on all threads; a thread that is done takes the next piece.
fn for_pieces(pieces: usize, work: impl Fn(usize) + Sync) {
    let threads = thread_count().min(pieces);
    if threads <= 1 {
        return (0..pieces).for_each(work);
    }
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            // Relaxed is enough: the scope's end orders what the pieces wrote.
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return;
            }
            work(piece);
        }
    };
    // Work inside of work is not spread again; nor what this thread runs while it waits for the others.
    let _restored = Active(ACTIVE.replace(1));
    rayon::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| take());
        }
        take();
    });
}

/// Restores the number of threads, also when work panics.
struct Active(usize);

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.set(self.0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_and_results_come_in_order() {
        for threads in [1, 2] {
            set_threads(threads).expect("a pool");
            let counts: Vec<AtomicUsize> = (0..103).map(|_| AtomicUsize::new(0)).collect();
            for_ranges(103, 10, |range| range.for_each(|i| _ = counts[i].fetch_add(1, Ordering::Relaxed)));
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            assert_eq!(map_ranges(25, 10, |range| range), [0..10, 10..20, 20..25]);
            assert!(map_ranges(0, 10, |range| range).is_empty());
        }
    }

    #[test]
    fn work_inside_of_work_runs_on_the_thread_that_has_it() {
        set_threads(2).expect("a pool");
        for_ranges(4, 1, |_| assert_eq!(thread_count(), 1));
        assert_eq!(thread_count(), 2);
    }

    #[test]
    fn a_panic_in_any_thread_reaches_the_caller_and_work_goes_on() {
        set_threads(2).expect("a pool");
        for culprit in 0..8 {
            let done = AtomicUsize::new(0);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for_ranges(8, 1, |range| {
                    assert!(!range.contains(&culprit), "piece {culprit} fails");
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }));
            let message = caught.expect_err("a panic");
            assert_eq!(message.downcast_ref::<String>(), Some(&format!("piece {culprit} fails")));
            assert_eq!(thread_count(), 2);
            assert!(done.into_inner() < 8);
            assert_eq!(map_ranges(25, 10, |range| range), [0..10, 10..20, 20..25]);
        }
    }

    #[test]
    fn more_threads_than_the_pool_has_are_refused() {
        set_threads(1).expect("a pool");
        assert!(set_threads(100_000).expect_err("too many").contains("cannot use 100000"));
        assert_eq!(thread_count(), 1);
    }
}
