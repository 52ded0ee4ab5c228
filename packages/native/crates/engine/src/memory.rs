//! Memory of tensors: buffers aligned to cache lines from a pool that keeps freed blocks for reuse, with exact accounting.

use crate::error::{EngineError, Result};
use memmap2::MmapMut;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Alignment of every buffer, in bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;
/// From this size on blocks come from the system page by page, zeroed when first touched.
const MAPPED_BYTES: usize = 1 << 20;

/// What a buffer is for, in the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Tensors without a more special purpose: activations, above all.
    Tensor = 0,
    /// Values of parameters.
    Parameter = 1,
    /// Accumulated gradients of parameters.
    Gradient = 2,
    /// Moments of optimizers.
    OptimizerState = 3,
    /// What kernels need while they run.
    Scratch = 4,
}

impl Kind {
    /// All kinds, by code.
    pub const ALL: [Self; 5] = [Self::Tensor, Self::Parameter, Self::Gradient, Self::OptimizerState, Self::Scratch];
}

/// Bytes in use and the most that ever were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Now, as asked for.
    pub current_bytes: usize,
    /// At most, since the start or the last reset.
    pub peak_bytes: usize,
}

/// What the pool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Of all buffers.
    pub total: Usage,
    /// By kind, in the order of [`Kind::ALL`].
    pub by_kind: [Usage; 5],
    /// Live buffers.
    pub buffers: usize,
    /// Freed blocks kept for reuse.
    pub cached_bytes: usize,
}

enum Block {
    Heap(NonNull<u8>, Layout),
    Mapped(MmapMut),
}

// SAFETY: a block is owned memory; whoever holds it may use it from any thread.
unsafe impl Send for Block {}
// SAFETY: a shared block only gives out its pointer and its size; what is read and written through the pointer is for its users to order.
unsafe impl Sync for Block {}

impl Block {
    fn new(capacity: usize, huge_pages: bool) -> Result<Self> {
        if capacity >= MAPPED_BYTES {
            let map = MmapMut::map_anon(capacity).map_err(|_| EngineError::OutOfMemory(capacity))?;
            #[cfg(target_os = "linux")]
            if huge_pages {
                // Advice only: fewer misses of the address cache where the system follows it.
                let _ = map.advise(memmap2::Advice::HugePage);
            }
            #[cfg(not(target_os = "linux"))]
            let _ = huge_pages;
            return Ok(Self::Mapped(map));
        }
        let layout = Layout::from_size_align(capacity, ALIGNMENT).map_err(|_| EngineError::OutOfMemory(capacity))?;
        // SAFETY: the layout's size is not zero, since capacities are rounded up.
        let pointer = unsafe { alloc(layout) };
        NonNull::new(pointer).map(|pointer| Self::Heap(pointer, layout)).ok_or(EngineError::OutOfMemory(capacity))
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Heap(_, layout) => layout.size(),
            Self::Mapped(map) => map.len(),
        }
    }

    fn pointer(&self) -> *mut u8 {
        match self {
            Self::Heap(pointer, _) => pointer.as_ptr(),
            Self::Mapped(map) => map.as_ptr().cast_mut(),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Self::Heap(pointer, layout) = self {
            // SAFETY: allocated with this layout and freed once.
            unsafe { dealloc(pointer.as_ptr(), *layout) }
        }
    }
}

#[derive(Default)]
struct State {
    /// Freed blocks by capacity.
    free: BTreeMap<usize, Vec<Block>>,
    statistics: Statistics,
}

impl State {
    fn take(&mut self, capacity: usize) -> Option<Block> {
        let blocks = self.free.get_mut(&capacity)?;
        let block = blocks.pop();
        if blocks.is_empty() {
            self.free.remove(&capacity);
        }
        if block.is_some() {
            self.statistics.cached_bytes -= capacity;
        }
        block
    }

    /// Gives blocks back to the system, the largest first, until at most `bytes` are cached.
    fn shrink_cache(&mut self, bytes: usize) {
        while self.statistics.cached_bytes > bytes {
            let Some((&capacity, _)) = self.free.last_key_value() else { return };
            self.take(capacity);
        }
    }

    fn count(&mut self, kind: Kind, bytes: usize) {
        for usage in [&mut self.statistics.total, &mut self.statistics.by_kind[kind as usize]] {
            usage.current_bytes += bytes;
            usage.peak_bytes = usage.peak_bytes.max(usage.current_bytes);
        }
    }

    fn discount(&mut self, kind: Kind, bytes: usize) {
        for usage in [&mut self.statistics.total, &mut self.statistics.by_kind[kind as usize]] {
            usage.current_bytes -= bytes;
        }
    }
}

/// A pool of blocks. Cheap to clone; clones share the blocks.
#[derive(Clone, Default)]
pub struct Pool {
    state: Arc<Mutex<State>>,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves counts that are still usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer whose contents are whatever was there before.
    ///
    /// # Errors
    /// If the system has no memory left.
    pub fn allocate(&self, bytes: usize, kind: Kind) -> Result<Buffer> {
        self.make(bytes, kind, false)
    }

    /// A buffer of zeros. Where it is large its pages take memory only once they are written.
    ///
    /// # Errors
    /// If the system has no memory left.
    pub fn allocate_zeroed(&self, bytes: usize, kind: Kind) -> Result<Buffer> {
        self.make(bytes, kind, true)
    }

    fn make(&self, bytes: usize, kind: Kind, zeroed: bool) -> Result<Buffer> {
        let capacity = capacity_for(bytes).ok_or(EngineError::OutOfMemory(bytes))?;
        let untouched = zeroed && capacity >= MAPPED_BYTES;
        let cached = if untouched { None } else { self.state().take(capacity) };
        let block = match cached {
            Some(block) => block,
            None => {
                {
                    // What is cached must not push the process beyond the most it ever needed at once.
                    let mut state = self.state();
                    let Statistics { total, .. } = state.statistics;
                    let room = total.peak_bytes.saturating_sub(total.current_bytes + capacity);
                    state.shrink_cache(room);
                }
                Block::new(capacity, !zeroed)?
            }
        };
        if zeroed && !untouched {
            // SAFETY: the block is ours and has `capacity` bytes.
            unsafe { block.pointer().write_bytes(0, capacity) }
        }
        let mut state = self.state();
        state.count(kind, bytes);
        state.statistics.buffers += 1;
        drop(state);
        Ok(Buffer { block: Some(block), bytes, kind: AtomicU8::new(kind as u8), pool: self.clone() })
    }

    /// What is in use, was at most, and is kept.
    pub fn statistics(&self) -> Statistics {
        self.state().statistics
    }

    /// Peaks start again from what is in use now.
    pub fn reset_peaks(&self) {
        let statistics = &mut self.state().statistics;
        for usage in std::iter::once(&mut statistics.total).chain(&mut statistics.by_kind) {
            usage.peak_bytes = usage.current_bytes;
        }
    }

    /// Gives all freed blocks back to the system.
    pub fn release_cached(&self) {
        self.state().shrink_cache(0);
    }
}

/// Sizes are rounded up to one of eight steps between powers of two, so that blocks fit other tensors of about that size.
/// None: no memory is so large.
fn capacity_for(bytes: usize) -> Option<usize> {
    if bytes > isize::MAX as usize / 2 {
        return None;
    }
    let bytes = bytes.max(ALIGNMENT);
    let step = (bytes.next_power_of_two() / 16).max(ALIGNMENT);
    Some(bytes.div_ceil(step) * step)
}

/// Memory of one tensor, which goes back to its pool when it is dropped.
pub struct Buffer {
    /// Taken when dropped.
    block: Option<Block>,
    bytes: usize,
    kind: AtomicU8,
    pool: Pool,
}

impl Buffer {
    /// Where it begins; aligned to [`ALIGNMENT`].
    pub fn pointer(&self) -> *mut u8 {
        self.block.as_ref().map_or(std::ptr::null_mut(), Block::pointer)
    }

    /// Bytes asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it is counted as.
    pub fn kind(&self) -> Kind {
        Kind::ALL[usize::from(self.kind.load(Ordering::Relaxed))]
    }

    /// Counts it as another kind from here on.
    pub fn set_kind(&self, kind: Kind) {
        let mut state = self.pool.state();
        // Relaxed is enough: the lock orders changes.
        let before = Kind::ALL[usize::from(self.kind.swap(kind as u8, Ordering::Relaxed))];
        state.discount(before, self.bytes);
        state.count(kind, self.bytes);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let capacity = block.capacity();
        let mut state = self.pool.state();
        state.discount(self.kind(), self.bytes);
        state.statistics.buffers -= 1;
        state.statistics.cached_bytes += capacity;
        state.free.entry(capacity).or_default().push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_in_use_and_the_most_that_was_by_kind() {
        let pool = Pool::default();
        let a = pool.allocate(1000, Kind::Tensor).expect("memory");
        let b = pool.allocate(500, Kind::Gradient).expect("memory");
        drop(a);
        let statistics = pool.statistics();
        assert_eq!(statistics.total, Usage { current_bytes: 500, peak_bytes: 1500 });
        assert_eq!(statistics.by_kind[Kind::Tensor as usize], Usage { current_bytes: 0, peak_bytes: 1000 });
        assert_eq!(statistics.buffers, 1);
        drop(b);
        pool.reset_peaks();
        assert_eq!(pool.statistics().total, Usage::default());
    }

    #[test]
    fn a_freed_block_is_used_again() {
        let pool = Pool::default();
        let first = pool.allocate(10_000, Kind::Tensor).expect("memory");
        let pointer = first.pointer();
        drop(first);
        let second = pool.allocate(9_900, Kind::Tensor).expect("memory");
        assert_eq!(second.pointer(), pointer);
        assert_eq!(pointer as usize % ALIGNMENT, 0);
        assert_eq!(pool.statistics().cached_bytes, 0);
    }

    #[test]
    fn zeroed_buffers_are_zero_also_when_reused() {
        let pool = Pool::default();
        for bytes in [100, 3 << 20] {
            let dirty = pool.allocate(bytes, Kind::Tensor).expect("memory");
            // SAFETY: within the buffer.
            unsafe { dirty.pointer().write_bytes(7, bytes) };
            drop(dirty);
            let clean = pool.allocate_zeroed(bytes, Kind::Tensor).expect("memory");
            // SAFETY: within the buffer, and initialized.
            let contents = unsafe { std::slice::from_raw_parts(clean.pointer(), bytes) };
            assert!(contents.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn cached_blocks_never_push_the_process_beyond_its_peak() {
        let pool = Pool::default();
        drop(pool.allocate(8 << 20, Kind::Tensor).expect("memory"));
        let other = pool.allocate(5 << 20, Kind::Tensor).expect("memory");
        let Statistics { total, cached_bytes, .. } = pool.statistics();
        assert!(total.current_bytes + cached_bytes <= total.peak_bytes, "{total:?} {cached_bytes}");
        drop(other);
        pool.release_cached();
        assert_eq!(pool.statistics().cached_bytes, 0);
    }
}
