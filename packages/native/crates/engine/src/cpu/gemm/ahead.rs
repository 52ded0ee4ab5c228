//! Fetching what will be read soon.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory that will be read soon: runs of cache lines.
#[derive(Clone, Copy)]
pub struct Ahead {
    run: *const u8,
    stride: usize,
    lines: usize,
    next_line: usize,
    runs_left: usize,
}

impl Ahead {
    /// `runs` runs of so many bytes, `stride` bytes apart.
    pub fn new(pointer: *const u8, bytes: usize, runs: usize, stride: usize) -> Self {
        Self { run: pointer, stride, lines: bytes.div_ceil(LINE).max(1), next_line: 0, runs_left: runs }
    }

    /// None.
    pub fn nothing() -> Self {
        Self { run: std::ptr::null(), stride: 0, lines: 1, next_line: 0, runs_left: 0 }
    }

    /// Lines in all.
    pub fn lines(&self) -> usize {
        self.runs_left * self.lines
    }

    /// Asks the CPU to fetch the next `count` lines into its second cache.
    #[inline(always)]
    pub fn fetch(&mut self, count: usize) {
        for _ in 0..count {
            if self.runs_left == 0 {
                return;
            }
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                // SAFETY: a hint, which reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(self.run.wrapping_add(self.next_line * LINE).cast()) };
            }
            self.next_line += 1;
            if self.next_line == self.lines {
                self.next_line = 0;
                self.runs_left -= 1;
                self.run = self.run.wrapping_add(self.stride);
            }
        }
    }
}

/// Asks the CPU to fetch lines with so many bytes that will be written soon.
#[inline(always)]
pub fn prefetch_write(from: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        for offset in (0..bytes).step_by(LINE) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(from.wrapping_add(offset).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, bytes);
}

/// Asks the CPU to fetch a line that will be read soon.
#[inline(always)]
pub fn prefetch_read(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
